package tasks

import (
	"os"
	"strings"
	"unsafe"
)

// typedArgs are os.Args as they were typed, where something in them has been
// made unreadable; nil otherwise.
var typedArgs []string

// hideSecret makes an address unreadable on this process's command line, which
// every user of the machine may read (ps). What stands in os.Args is the very
// memory the kernel shows (runtime.goargs makes no copies), and it is written
// over in place: "--ping-url https://*****". From the start of the process to
// here it could be seen; @FILE is for those who can't have that either.
func hideSecret(url string) {
	_, secret, ok := strings.Cut(url, "://")
	if !ok || secret == "" {
		return
	}
	for i, arg := range os.Args {
		at := strings.Index(arg, secret)
		if at < 0 || !strings.Contains(arg, url) {
			continue
		}
		if typedArgs == nil {
			typedArgs = make([]string, len(os.Args))
			for k := range os.Args {
				typedArgs[k] = strings.Clone(os.Args[k])
			}
		}
		text := unsafe.Slice(unsafe.StringData(os.Args[i]), len(arg))
		for k := at; k < at+len(secret); k++ {
			text[k] = '*'
		}
	}
}

// argsToPassOn are those for a newer lifeline.
func argsToPassOn() []string {
	if typedArgs != nil {
		return typedArgs
	}
	return os.Args
}

// warnOfSecret warns of a password: what stands in a crontab stands in the process table as well,
// and /etc/cron.d everybody may read.
func warnOfSecret(o *options, options []string) {
	for _, option := range options {
		if strings.HasPrefix(option, "--ping-url=http") || isURL(option) {
			o.warn("the address of --ping-url can be read by others there: put it into a file of mode 600, and " +
				"give --ping-url @FILE")
			return
		}
	}
}
