// Man writes the manual page, lifeline(1), to standard output. It is a program
// of its own, run at build time, so that lifeline needn't carry the text. What
// isn't a command or an option stands in lifeline.txt.
package main

import (
	_ "embed"
	"flag"
	"fmt"
	"os"

	"lifeline/tasks"
)

//go:embed lifeline.txt
var text string

func main() {
	date := flag.String("date", "", "the `date` at the foot of the page, that of the commit")
	flag.Parse()
	if err := tasks.Manual(os.Stdout, text, *date); err != nil {
		fmt.Fprintln(os.Stderr, "man: cannot write the page:", err)
		os.Exit(1)
	}
}
