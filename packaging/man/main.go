// Man writes the manual page, lifeline(1), to standard output. It is a program
// of its own, run at build time, so that lifeline needn't carry the text.
package main

import (
	"flag"
	"fmt"
	"os"

	"lifeline/tasks"
)

func main() {
	date := flag.String("date", "", "the `date` at the foot of the page, that of the commit")
	flag.Parse()
	if err := tasks.Manual(os.Stdout, *date); err != nil {
		fmt.Fprintln(os.Stderr, "man: cannot write the page:", err)
		os.Exit(1)
	}
}
