package tasks_test

import (
	"encoding/json"
	"fmt"
	"hash/crc64"
	"math/rand/v2"
	"os"
	"os/signal"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"lifeline/internal/logger"
	"lifeline/procscan"
	"lifeline/proof/await"
)

var crcTable = crc64.MakeTable(crc64.ECMA)

// printed is what a printer says of itself in the end.
type printed struct {
	Sum     string // of all that it has printed
	Bytes   int64
	Lines   int
	Longest time.Duration // one write(2)
	Took    time.Duration
	Error   string
	Signal  string // that reached it
}

// init plays a worker that prints numbered lines of all lengths, in pieces of all
// sizes, at a rate in bytes a second. It ends after a number of bytes, or when
// FILE.stop is there. SIGTERM doesn't end it. It waits for FILE.go after the first
// piece, if FILE.wait is there.
func init() {
	spec := os.Getenv("TASKS_TEST_PRINT")
	if spec == "" || logger.Is() {
		return
	}
	var file string
	var total, rate int64
	if _, err := fmt.Sscanf(spec, "%s %d %d", &file, &total, &rate); err != nil {
		panic(err)
	}
	os.Exit(printer(file, total, rate))
}

func printer(file string, total, rate int64) int {
	heard := make(chan os.Signal, 10)
	signal.Notify(heard, unix.SIGTERM, unix.SIGPIPE, unix.SIGHUP)
	var p printed
	sum := crc64.New(crcTable)
	fast := rate >= 10<<20
	random := rand.New(rand.NewPCG(1, 2))
	var text, block []byte // a fast one prints a block of lines again and again
	leave := func(name string, v any) {
		line, _ := json.Marshal(v)
		_ = os.WriteFile(name+".new", line, 0o644)
		_ = os.Rename(name+".new", name)
	}
	leave(file+".pid", os.Getpid())
	began := time.Now()
	goes := func() bool { return !exists(file+".stop") && exists(filepath.Join(filepath.Dir(file), "alive")) }
	for first := true; (total == 0 || p.Bytes < total) && goes(); first = false {
		size := 1 + random.IntN(4<<10)
		if fast {
			size = 1 + random.IntN(128<<10)
		}
		if fast && len(text) < size && len(block) > 0 {
			text = append(text, block...)
		}
		for len(text) < size || fast && len(block) == 0 {
			if len(text) > 5e6 {
				block = append(block, text...)
			}
			p.Lines++
			text = fmt.Appendf(text, "<%09d ", p.Lines)
			for n := random.IntN(200); n > 0; n-- {
				text = append(text, byte('a'+n%26))
			}
			text = append(text, ">\n"...)
		}
		for rest := text[:size]; len(rest) > 0; {
			before := time.Now()
			n, err := unix.Write(1, rest)
			p.Longest = max(p.Longest, time.Since(before))
			if err == unix.EINTR {
				continue
			}
			if err != nil {
				p.Error = err.Error()
				leave(file, p)
				return 9
			}
			sum.Write(rest[:n])
			p.Bytes += int64(n)
			rest = rest[n:]
		}
		text = text[size:]
		if first && exists(file+".wait") {
			leave(file+".waits", p.Bytes)
			await.Within(patience, func() bool { return exists(file+".go") || !goes() })
			began = time.Now().Add(-time.Duration(float64(p.Bytes) / float64(rate) * 1e9))
		}
		if !fast {
			leave(file+".bytes", p.Bytes)
		}
		if ahead := time.Duration(float64(p.Bytes)/float64(rate)*1e9) - time.Since(began); ahead > 0 {
			<-time.After(ahead) // the rate that was asked for: the next line is due then
		}
	}
	p.Took = time.Since(began)
	for len(heard) > 0 {
		if sig := <-heard; sig == unix.SIGPIPE {
			p.Signal = sig.String()
		}
	}
	p.Sum = fmt.Sprintf("%x", sum.Sum64())
	leave(file, p)
	return 0
}

// print starts a printer under lifeline.
func (w *world) print(options []string, tag string, total, rate int64) *tick {
	w.t.Helper()
	self, err := os.Executable()
	if err != nil {
		w.t.Fatal(err)
	}
	spec := fmt.Sprintf("TASKS_TEST_PRINT=%s %d %d", w.path(tag), total, rate)
	return w.tick(append([]string{"--env", spec}, options...), "web", self)
}

// printed waits for a printer's last word.
func (w *world) printed(tag string) (p printed) {
	w.t.Helper()
	await.That(w.t, "the printer ends; they said "+w.said(), func() bool { return exists(w.path(tag)) })
	text, err := os.ReadFile(w.path(tag))
	if err == nil {
		err = json.Unmarshal(text, &p)
	}
	if err != nil || p.Error != "" || p.Signal != "" {
		w.t.Errorf("the printer: %v, error %q, signal %q", err, p.Error, p.Signal)
	}
	return p
}

func (w *world) touch(name string) {
	w.t.Helper()
	if err := os.WriteFile(w.path(name), nil, 0o644); err != nil {
		w.t.Fatal(err)
	}
}

// logged returns all that is in the log and its older files.
func logged(path string) (text []byte, files int) {
	for n := 0; ; n++ {
		name := path
		if n > 0 {
			name += "." + strconv.Itoa(n)
		}
		part, err := os.ReadFile(name)
		if err != nil {
			return text, n
		}
		text = append(part, text...)
	}
}

// complete wants the log to be what was printed, byte by byte.
func (w *world) complete(path string, p printed) (files int) {
	w.t.Helper()
	var text []byte
	await.That(w.t, "as many bytes as were printed are in the log", func() bool {
		text, files = logged(path)
		return int64(len(text)) >= p.Bytes
	})
	if sum := fmt.Sprintf("%x", crc64.Checksum(text, crcTable)); sum != p.Sum || int64(len(text)) != p.Bytes {
		w.t.Errorf("%d bytes were printed and %d logged; the sums are %s and %s", p.Bytes, len(text), p.Sum, sum)
	}
	return files
}

// loggers returns the processes that read the world's pipe of web.
func (w *world) loggers() (ids []procscan.ID) {
	w.t.Helper()
	files, _ := filepath.Glob("/proc/[0-9]*/cmdline")
	for _, f := range files {
		line, _ := os.ReadFile(f)
		if !strings.HasPrefix(string(line), "lifeline-logger\x001\x00web\x00") {
			continue
		}
		fds, _ := filepath.Glob(filepath.Dir(f) + "/fd/*")
		for _, fd := range fds {
			if to, _ := os.Readlink(fd); strings.HasPrefix(to, w.dir+"/web-") && strings.Contains(to, ".out") {
				pid, _ := strconv.Atoi(filepath.Base(filepath.Dir(f)))
				if s, err := procscan.Lookup(pid); err == nil {
					ids = append(ids, s.ID)
				}
				break
			}
		}
	}
	return ids
}

// theLogger waits for one.
func (w *world) theLogger() (id procscan.ID) {
	w.t.Helper()
	await.That(w.t, "there is a logger", func() bool {
		all := w.loggers()
		if len(all) > 0 {
			id = all[0]
		}
		return len(all) == 1
	})
	return id
}
