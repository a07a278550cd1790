package logger

import (
	"time"

	"lifeline/internal/journal"
	"lifeline/internal/logger/output"
)

// Setup is what a logger is to do.
type Setup struct {
	Name   string
	Log    *output.Log // nil: none
	Syslog string      // the path of a syslog's socket; "" for none
	Stamps bool
	Quiet  bool // show what is printed only when the run fails

	OnStart, OnSuccess, OnFailure string // shell commands
	HookTimeout                   time.Duration
	Vars                          []string // for the hooks: K=V
	Dir                           string   // where the hooks run
	Failed                        string   // a file for the end of what a failed run prints; "" for none

	PingURL string
	Remote  string // the program that sends it
	Trouble string // the file that tells of a ping that failed; "" for none: see [Untold]

	// Filled in by Open: how many ends of pipes come with it, and whether
	// lifeline's own standard output and error do.
	Streams int
	Std     bool
}

// reads reports whether the worker's output goes through the logger.
func (s *Setup) reads() bool { return s.Log != nil || s.Syslog != "" || s.Quiet || s.PingURL != "" }

// keeps reports whether what the worker prints is written down.
func (s *Setup) keeps() bool { return s.Log != nil || s.Syslog != "" }

// tells reports whether a hook or a ping tells how it goes.
func (s *Setup) tells() bool {
	return s.OnStart != "" || s.OnSuccess != "" || s.OnFailure != "" || s.PingURL != ""
}

// shows reports that something may go to lifeline's own output.
func (s *Setup) shows() bool { return s.Quiet || s.tells() }

// KeepsApart reports whether what each run prints is kept apart from the next one's.
func (s *Setup) KeepsApart() bool { return s.Quiet || s.PingURL != "" }

// Needed reports whether there is anything to do for a logger.
func (s *Setup) Needed() bool { return s.reads() || s.tells() }

// message is from the supervisor; one of its fields is set.
type message struct {
	Setup   *Setup       `json:",omitempty"`
	Started *journal.Run `json:",omitempty"`
	Ended   *journal.Run `json:",omitempty"`
	Flush   bool         `json:",omitempty"` // answer when what was printed up to now is written
	Bye     bool         `json:",omitempty"` // close the connection when the hooks have run, and all is shown
	Pings   bool         `json:",omitempty"` // with Bye: and the pings are sent
}

// answer is from the logger.
type answer struct {
	Ready int    `json:",omitempty"` // the setup has been taken; the logger's pid
	Done  bool   `json:",omitempty"` // to Flush
	Warn  string `json:",omitempty"` // one line for a person
}

// maxLine is the longest line of the protocol: commands and variables are in it.
const maxLine = 4 << 20
