package tasks

import (
	"os"
	"strings"
	"unsafe"
)

// typedArgs are os.Args as they were typed; nil until hideSecret changes os.Args.
var typedArgs []string

// hideSecret overwrites an address on this process's command line, which every user
// of the machine may read (ps): "--ping-url https://*****". os.Args is the memory that
// the kernel shows, because runtime.goargs makes no copies. Until this call the
// address can be read; @FILE avoids that.
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

// argsToPassOn returns the arguments for a newer lifeline.
func argsToPassOn() []string {
	if typedArgs != nil {
		return typedArgs
	}
	return os.Args
}

// warnOfSecret warns of an address of --ping-url, because other users can read it in
// the process table and in /etc/cron.d.
func warnOfSecret(o *options, options []string) {
	for _, option := range options {
		if strings.HasPrefix(option, "--ping-url=http") || isURL(option) {
			o.warn("the address of --ping-url can be read by others there: put it into a file of mode 600, and " +
				"give --ping-url @FILE")
			return
		}
	}
}
