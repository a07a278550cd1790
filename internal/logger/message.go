package logger

import (
	"time"

	"lifeline/internal/journal"
	"lifeline/internal/logger/output"
)

// Setup says what a logger is to do.
type Setup struct {
	Name   string
	Log    *output.Log // nil: none
	Syslog string      // the path of a syslog's socket; "" for none
	Stamps bool
	Quiet  bool // show what is printed only when the run fails

	OnStart, OnSuccess, OnFailure string // shell commands
	HookTimeout                   time.Duration
	Vars                          []string // the hooks' variables: K=V
	Dir                           string   // where the hooks run
	Failed                        string   // the file for the end of a failed run's output; "" for none

	PingURL string
	Remote  string // the program that sends the pings
	Trouble string // the file that tells of a failed ping; "" for none: see [Untold]

	// Open sets these: how many pipes come with the setup, and whether lifeline's own
	// standard output and error do.
	Streams int
	Std     bool
}

// reads reports whether the worker's output goes through the logger.
func (s *Setup) reads() bool { return s.Log != nil || s.Syslog != "" || s.Quiet || s.PingURL != "" }

// keeps reports whether the worker's output is written down.
func (s *Setup) keeps() bool { return s.Log != nil || s.Syslog != "" }

// tells reports whether a hook or a ping tells of runs.
func (s *Setup) tells() bool {
	return s.OnStart != "" || s.OnSuccess != "" || s.OnFailure != "" || s.PingURL != ""
}

// shows reports whether the logger may print to lifeline's own output.
func (s *Setup) shows() bool { return s.Quiet || s.tells() }

// KeepsApart reports whether each run's output is kept apart.
func (s *Setup) KeepsApart() bool { return s.Quiet || s.PingURL != "" }

// Needed reports whether the setup needs a logger.
func (s *Setup) Needed() bool { return s.reads() || s.tells() }

// message is sent by the supervisor; one field is set.
type message struct {
	Setup   *Setup       `json:",omitempty"`
	Started *journal.Run `json:",omitempty"`
	Ended   *journal.Run `json:",omitempty"`
	Flush   bool         `json:",omitempty"` // answer when the output up to now is written
	Bye     bool         `json:",omitempty"` // close the connection when the hooks have run and all is shown
	Pings   bool         `json:",omitempty"` // with Bye: also when the pings are sent
}

// answer is sent by the logger.
type answer struct {
	Ready int    `json:",omitempty"` // the logger's pid, when it has taken the setup
	Done  bool   `json:",omitempty"` // the answer to Flush
	Warn  string `json:",omitempty"` // one line for a person
}

// maxLine is the longest line of the protocol, which may hold commands and variables.
const maxLine = 4 << 20
