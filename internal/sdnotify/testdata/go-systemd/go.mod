// A client that only a test needs.
module lifeline/internal/sdnotify/testdata/go-systemd

go 1.26.0

require github.com/coreos/go-systemd/v22 v22.7.0

require golang.org/x/sys v0.1.0 // indirect
