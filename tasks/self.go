package tasks

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"syscall"
	"time"

	"lifeline/internal/guard"
	"lifeline/internal/supervisor"
)

// A newer lifeline replaces this process in place: execve keeps the pid, the locks,
// the worker and all sockets. The old program's state is handed over in an unnamed
// file, whose descriptor stands in LIFELINE_HANDED.
const (
	envHanded = "LIFELINE_HANDED"
	canDoIt   = "can-take-over" // an argument that lifeline gives to a newer lifeline
)

type handedOver struct {
	Hold guard.Handed
	Loop json.RawMessage
}

// answerCan prints the version of the hand-over that this program understands.
func answerCan() { fmt.Printf("lifeline takes over %d\n", supervisor.HandOverVersion) }

// newer returns the path of the program now on disk, if it can take over.
func newer() (string, error) {
	path, err := os.Executable() // without " (deleted)", proc(5)
	if err != nil {
		return "", fmt.Errorf("cannot tell where this program is: %w", err)
	}
	ctx, cancel := context.WithTimeout(context.Background(), 3*time.Second)
	defer cancel()
	out, err := exec.CommandContext(ctx, path, canDoIt).Output()
	if err != nil {
		return "", fmt.Errorf("%s can't be run: %w", path, err)
	}
	if want := fmt.Sprintf("lifeline takes over %d",
		supervisor.HandOverVersion); strings.TrimSpace(string(out)) != want {
		return "", fmt.Errorf("%s doesn't understand what this lifeline would hand over: lifeline restart ends "+
			"the worker once instead", path)
	}
	return path, nil
}

// becomeNewer replaces this process by the newer lifeline; it returns only on failure.
func becomeNewer(hold *guard.Hold, loop []byte) error {
	path, err := newer()
	if err != nil {
		return err
	}
	out, err := hold.HandOver()
	if err != nil {
		return err
	}
	defer hold.TakeBack(out)
	text, err := json.Marshal(handedOver{out, loop})
	if err != nil {
		return fmt.Errorf("cannot write the state down: %w", err)
	}
	fd, err := unnamedFile(text)
	if err != nil {
		return err
	}
	defer syscall.Close(fd)
	env := append(os.Environ(), envHanded+"="+strconv.Itoa(fd))
	return fmt.Errorf("cannot execute %s: %w", path, syscall.Exec(path, argsToPassOn(), env))
}

// takenOver returns what an older lifeline has handed over; nil if none has.
func takenOver() (*handedOver, error) {
	text, ok := os.LookupEnv(envHanded)
	if !ok {
		return nil, nil
	}
	_ = os.Unsetenv(envHanded)
	fd, err := strconv.Atoi(text)
	if err != nil || fd < 3 {
		return nil, errors.New(envHanded + " is set by hand, or wrongly: unset it")
	}
	f := os.NewFile(uintptr(fd), "handed over")
	defer f.Close()
	var buf bytes.Buffer
	if _, err = f.Seek(0, 0); err == nil {
		_, err = buf.ReadFrom(f)
	}
	var h handedOver
	if err == nil {
		err = json.Unmarshal(buf.Bytes(), &h)
	}
	if err != nil {
		return nil, fmt.Errorf("cannot read what the old lifeline handed over: %w", err)
	}
	return &h, nil
}
