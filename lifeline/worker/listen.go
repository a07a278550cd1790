package worker

import (
	"errors"
	"fmt"
	"net"
	"os"
	"strconv"
	"strings"
	"sync"

	"golang.org/x/sys/unix"
)

// firstFD is SD_LISTEN_FDS_START of sd_listen_fds(3).
const firstFD = 3

// Listener is a listening socket that the supervisor opened, with its name in
// LISTEN_FDNAMES ("unknown" where none was given).
type Listener struct {
	Name string
	net.Listener
}

// Listeners returns the listening stream sockets that the supervisor opened
// (LISTEN_FDS, sd_listen_fds(3)), in its order. It returns none when the sockets are meant for
// another process (LISTEN_PID). Every call returns the same listeners.
//
// Closing a listener closes this process's descriptor only. The supervisor keeps
// the socket open, so waiting connections stay for the next generation.
//
// The first call of Listeners, [Listen] or [Files] removes LISTEN_FDS, LISTEN_PID
// and LISTEN_FDNAMES, and makes the descriptors close-on-exec. A child then can't
// take them for its own.
func Listeners() ([]Listener, error) {
	in, err := inheritedFDs()
	if err != nil {
		return nil, err
	}
	return append([]Listener(nil), in.listeners...), nil
}

// Files returns what else the supervisor handed over by LISTEN_FDS: datagram
// sockets, FIFOs and what a previous generation left with FDSTORE=1. Each
// file's Name is the one in LISTEN_FDNAMES. Every call returns the same files.
func Files() ([]*os.File, error) {
	in, err := inheritedFDs()
	if err != nil {
		return nil, err
	}
	return append([]*os.File(nil), in.files...), nil
}

// Listen returns the listening socket that the supervisor opened under this
// name; with an empty name the first socket that it hasn't returned yet. When
// the supervisor opened none, Listen opens one itself, as [net.Listen].
//
// Listen fails when the supervisor opened sockets, but none of this name, or when
// it has returned that socket already. Serving elsewhere than the operator asked
// for would be worse.
func Listen(name, network, address string) (net.Listener, error) {
	in, err := inheritedFDs()
	if err != nil {
		return nil, err
	}
	if len(in.listeners) == 0 {
		return net.Listen(network, address)
	}
	return in.take(name)
}

// handedOver is what came by LISTEN_FDS.
type handedOver struct {
	listeners []Listener
	files     []*os.File

	mu    sync.Mutex
	taken map[int]bool // listeners that Listen returned
}

func (h *handedOver) take(name string) (net.Listener, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	var names []string
	for i, l := range h.listeners {
		if !h.taken[i] && (name == "" || name == l.Name) {
			h.taken[i] = true
			return l.Listener, nil
		}
		names = append(names, l.Name)
	}
	return nil, fmt.Errorf("cannot find an unused listening socket %q: the supervisor opened %s",
		name, strings.Join(names, ", "))
}

var inheritedFDs = sync.OnceValues(func() (*handedOver, error) {
	count, names, err := parseListen(os.Getenv, os.Getpid())
	if err != nil || count == 0 {
		return &handedOver{}, err
	}
	for _, name := range []string{"LISTEN_FDS", "LISTEN_PID", "LISTEN_FDNAMES"} {
		os.Unsetenv(name)
	}
	h := &handedOver{taken: make(map[int]bool)}
	for i := range count {
		if err := h.add(firstFD+i, names[i]); err != nil {
			return nil, fmt.Errorf("cannot take over descriptor %d (%s) of LISTEN_FDS=%d: %w", firstFD+i,
				names[i], count, err)
		}
	}
	return h, nil
})

// parseListen returns how many descriptors are meant for the process self, and
// a name for each.
func parseListen(getenv func(string) string, self int) (int, []string, error) {
	fds := getenv("LISTEN_FDS")
	if fds == "" || getenv("LISTEN_PID") != strconv.Itoa(self) {
		return 0, nil, nil
	}
	count, err := strconv.Atoi(fds)
	if err != nil || count < 0 || count > 1<<20 {
		return 0, nil, fmt.Errorf("cannot understand LISTEN_FDS=%q: not a number of descriptors", fds)
	}
	names := make([]string, count)
	given := strings.Split(getenv("LISTEN_FDNAMES"), ":")
	for i := range names {
		names[i] = "unknown"
		if i < len(given) && given[i] != "" {
			names[i] = given[i]
		}
	}
	return count, names, nil
}

// add makes the descriptor this process's own: close-on-exec, and a listener
// non-blocking. The mode is that of the shared open file. A listener in
// blocking mode would keep an older generation's accept, and with it Close,
// from returning.
func (h *handedOver) add(fd int, name string) error {
	if err := checkInherited(fd); err != nil {
		return err
	}
	unix.CloseOnExec(fd)
	kind, err := unix.GetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_TYPE)
	if err != nil || kind != unix.SOCK_STREAM {
		h.files = append(h.files, os.NewFile(uintptr(fd), name))
		return nil
	}
	accepts, err := unix.GetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_ACCEPTCONN)
	if err != nil || accepts == 0 {
		h.files = append(h.files, os.NewFile(uintptr(fd), name))
		return nil
	}
	if err := unix.SetNonblock(fd, true); err != nil {
		return err
	}
	f := os.NewFile(uintptr(fd), name)
	defer f.Close()
	l, err := net.FileListener(f)
	if err != nil {
		return err
	}
	h.listeners = append(h.listeners, Listener{name, l})
	return nil
}

// checkInherited tells a descriptor that came through execve from a descriptor that this
// process opened since, such as the Go runtime's own. Only an inherited
// descriptor lacks the close-on-exec flag.
func checkInherited(fd int) error {
	flags, err := unix.FcntlInt(uintptr(fd), unix.F_GETFD, 0)
	if err != nil || flags&unix.FD_CLOEXEC != 0 {
		return errors.New("it wasn't inherited (was it closed on the way here?)")
	}
	return nil
}
