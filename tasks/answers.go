package tasks

import (
	"fmt"

	"lifeline/internal/release"
)

// answered takes what isn't a command, but a question about this program.
func answered(argv []string) bool {
	switch {
	case len(argv) == 2 && argv[1] == canDoIt:
		answerCan()
	case argv[1] == "--version" && len(argv) == 2:
		fmt.Println(release.String("lifeline"))
	case argv[1] == completeWord:
		complete(argv[2:])
	default:
		return false
	}
	return true
}
