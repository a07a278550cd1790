package tasks

import (
	"fmt"

	"lifeline/internal/release"
)

// answered answers a question about this program, such as --version; false for a command.
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
