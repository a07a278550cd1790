package sdnotify

import (
	"os"
	"slices"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

// pipe returns the ends of a new pipe, which the caller closes.
func pipe(t *testing.T) (r, w int) {
	t.Helper()
	var p [2]int
	if err := unix.Pipe(p[:]); err != nil {
		t.Fatal(err)
	}
	return p[0], p[1]
}

func dup(t *testing.T, fd int) int {
	t.Helper()
	d, err := unix.Dup(fd)
	if err != nil {
		t.Fatal(err)
	}
	return d
}

func storedNames(s *Store) []string {
	var names []string
	for _, e := range s.List() {
		names = append(names, e.Name)
	}
	return names
}

// Close closes all kept descriptors.
func (s *Store) Close() { s.drop(func(int) bool { return true }) }

func TestStore(t *testing.T) {
	before := openFds(t)
	var s Store
	r, w := pipe(t)
	for _, add := range []struct {
		name string
		fd   int
	}{{"r", r}, {"w", w}, {"again", dup(t, r)}, {"", dup(t, w)}} {
		if err := s.Add(add.name, add.fd, true); err != nil {
			t.Error(err)
		}
	}
	if got := storedNames(&s); !slices.Equal(got, []string{"r", "w"}) {
		t.Errorf("stored %q", got)
	}
	for _, name := range []string{"a:b", "é", "\x1b", strings.Repeat("n", 256)} {
		if err := s.Add(name, dup(t, 0), true); err == nil {
			t.Errorf("stored as %q", name)
		}
	}
	if n := s.Remove("none"); n != 0 {
		t.Errorf("removed %d", n)
	}
	// The reading end hangs up when the writing end goes.
	if n := s.Sweep(); n != 0 {
		t.Errorf("swept %d", n)
	}
	if n := s.Remove("w"); n != 1 {
		t.Errorf("removed %d", n)
	}
	files, names, err := s.Files()
	if err != nil || len(files) != 0 || len(names) != 0 {
		t.Errorf("after the hang-up: %v %v %v", files, names, err)
	}
	if now := openFds(t); now != before {
		t.Errorf("%d descriptors, %d before", now, before)
	}
}

func TestStoreKeepsUnpolled(t *testing.T) {
	var s Store
	defer s.Close()
	r, w := pipe(t)
	if err := s.Apply(&Message{FDStore: true, FDName: "r", NoPoll: true, Fds: []int{r}}); err != nil {
		t.Fatal(err)
	}
	unix.Close(w)
	if n := s.Sweep(); n != 0 || len(s.List()) != 1 {
		t.Errorf("swept %d, left %v", n, s.List())
	}
}

func TestStoreIsBounded(t *testing.T) {
	before := openFds(t)
	for limit, want := range map[int]int{0: 3, 2: 2, -1: 0} {
		s := Store{Max: limit}
		m := Message{FDStore: true, FDName: "e"}
		for range 3 {
			fd, err := os.CreateTemp(t.TempDir(), "")
			if err != nil {
				t.Fatal(err)
			}
			m.Fds = append(m.Fds, dup(t, int(fd.Fd())))
			fd.Close()
		}
		err := s.Apply(&m)
		if (err != nil) != (want < 3) || len(s.List()) != want || m.Fds != nil {
			t.Errorf("at most %d: %v, %v, message left with %v", limit, s.List(), err, m.Fds)
		}
		s.Close()
	}
	// A descriptor that has hung up makes room.
	s := Store{Max: 1}
	r, w := pipe(t)
	if err := s.Add("old", r, true); err != nil {
		t.Error(err)
	}
	unix.Close(w)
	if err := s.Add("new", dup(t, 0), true); err != nil || !slices.Equal(storedNames(&s), []string{"new"}) {
		t.Errorf("%v %v", s.List(), err)
	}
	s.Close()
	if now := openFds(t); now != before {
		t.Errorf("%d descriptors, %d before", now, before)
	}
}

// TestStoreFilesStayNonBlocking shows that descriptors go unchanged to the next worker. A
// listening socket made blocking would stop both workers in accept.
func TestStoreFilesStayNonBlocking(t *testing.T) {
	var s Store
	defer s.Close()
	p, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(p[1])
	if err := unix.SetNonblock(p[0], true); err != nil {
		t.Fatal(err)
	}
	if err := s.Add("sock", p[0], true); err != nil {
		t.Fatal(err)
	}
	files, names, err := s.Files()
	if err != nil || len(files) != 1 || names[0] != "sock" {
		t.Fatal(files, names, err)
	}
	files[0].Fd()
	flags, err := unix.FcntlInt(files[0].Fd(), unix.F_GETFL, 0)
	if err != nil || flags&unix.O_NONBLOCK == 0 {
		t.Errorf("flags %#x %v", flags, err)
	}
	files[0].Close()
	if len(s.List()) != 1 || s.Sweep() != 0 {
		t.Error("the store's own went with it")
	}
}

// TestSameFile shows that different open files stay different, also where the kernel
// can't compare them.
func TestSameFile(t *testing.T) {
	open := func() int {
		f, err := os.Open("store_test.go")
		if err != nil {
			t.Fatal(err)
		}
		defer f.Close()
		return dup(t, int(f.Fd()))
	}
	r, w := pipe(t)
	p, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM, 0)
	if err != nil {
		t.Fatal(err)
	}
	file, again := open(), open()
	var fds = []int{r, w, p[0], p[1], file, again}
	defer func() { closeAll(fds) }()
	for i, a := range fds {
		for _, b := range fds[i+1:] {
			if sameFile(a, b) || sameInode(a, b) {
				t.Errorf("descriptors %d and %d are the same", a, b)
			}
		}
	}
	for _, fd := range []int{r, w, p[0]} {
		d := dup(t, fd)
		fds = append(fds, d)
		if !sameFile(fd, d) || !sameInode(fd, d) {
			t.Errorf("a duplicate of %d isn't the same", fd)
		}
	}
	d := dup(t, file)
	fds = append(fds, d)
	if !sameFile(file, d) {
		t.Error("the kernel can't be asked on this machine, or says no")
	}
}
