//go:build linux

package main

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"sync"
)

// score shows the lines of both nodes, and keeps count.
type score struct {
	out io.Writer

	mu     sync.Mutex
	counts map[int]string // the number's node
	got    map[int]string
	order  []int // the numbers in the order in which they were counted
	wrong  []string
	change chan struct{} // closed and opened again at each line
}

func newScore(out io.Writer) *score {
	return &score{out: out, counts: map[int]string{}, got: map[int]string{}, change: make(chan struct{})}
}

// Write takes one line of a node's output.
func (s *score) Write(line []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	var node, by string
	var number int
	if _, err := fmt.Sscanf(string(bytes.TrimSpace(line)), "%s counts %d", &node, &number); err == nil {
		if was := s.counts[number]; was != "" {
			s.wrong = append(s.wrong, fmt.Sprintf("%d was counted by %s and by %s", number, was, node))
		}
		s.counts[number] = node
		s.order = append(s.order, number)
	} else if _, err := fmt.Sscanf(string(bytes.TrimSpace(line)), "%s got %d from %s", &node, &number,
		&by); err == nil {
		s.got[number] = node // a second time, if the first listener was killed with it
	}
	close(s.change)
	s.change = make(chan struct{})
	return s.out.Write(line)
}

// wait waits until ask returns a node.
func (s *score) wait(ctx context.Context, ask func(*score) string) (string, error) {
	for {
		s.mu.Lock()
		node, change := ask(s), s.change
		s.mu.Unlock()
		if node != "" {
			return node, nil
		}
		select {
		case <-ctx.Done():
			return "", ctx.Err()
		case <-change:
		}
	}
}

// after returns a node, other than except, that has counted n numbers.
func (s *score) after(n int, except string) string {
	per := map[string]int{}
	for _, node := range s.counts {
		if per[node]++; node != except && per[node] >= n {
			return node
		}
	}
	return ""
}

// both returns the node back after it has received another message.
func (s *score) both(back string) string {
	last := 0
	for _, number := range s.order {
		if s.counts[number] == back {
			last = number
		}
	}
	for number, node := range s.got {
		if node == back && number > last+1 {
			return node
		}
	}
	return ""
}

// judge checks that every number from 1 on was counted once and in order, and
// that all but the last were received.
func (s *score) judge() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	nodes := map[string]int{}
	for i, number := range s.order {
		if i > 0 && number <= s.order[i-1] {
			s.wrong = append(s.wrong, fmt.Sprintf("%d was counted after %d", number, s.order[i-1]))
		}
		if s.got[number] == "" && i < len(s.order)-2 {
			s.wrong = append(s.wrong, fmt.Sprintf("%d was never received", number))
		}
	}
	for _, node := range s.got {
		nodes[node]++
	}
	if len(s.wrong) > 0 {
		return fmt.Errorf("%d things went wrong: %s", len(s.wrong), s.wrong)
	}
	fmt.Fprintf(s.out, "%d numbers, each counted once; a received %d of them, b %d\n", len(s.order), nodes["a"],
		nodes["b"])
	return nil
}
