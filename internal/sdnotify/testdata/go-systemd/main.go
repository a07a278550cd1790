// What a Go service does with the usual library, for the tests of sdnotify.
package main

import (
	"fmt"
	"os"
	"time"

	"github.com/coreos/go-systemd/v22/daemon"
)

func main() {
	interval, err := daemon.SdWatchdogEnabled(false)
	if err != nil || interval != 3*time.Second {
		fmt.Fprintf(os.Stderr, "watchdog %v %v\n", interval, err)
		os.Exit(1)
	}
	for _, state := range []string{daemon.SdNotifyReady, daemon.SdNotifyWatchdog, daemon.SdNotifyStopping} {
		if sent, err := daemon.SdNotify(false, state); !sent || err != nil {
			fmt.Fprintf(os.Stderr, "%s: %v %v\n", state, sent, err)
			os.Exit(1)
		}
	}
}
