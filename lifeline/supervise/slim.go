package supervise

import "time"

// slimAfter is how long a worker must have been up before memory is given
// back: a supervisor waits for most of its life, perhaps beside hundreds of
// others, but a short job shouldn't pay for that.
const slimAfter = 2 * time.Second

// slim gives back the pages of the program that starting up has used: those
// that are needed again come back from the page cache by themselves. The heap
// is left alone: collecting it would dirty more pages than it frees.
func slim() { dropText() }
