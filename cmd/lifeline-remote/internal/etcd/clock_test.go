package etcd

import (
	"errors"
	"fmt"
	"net/http"
	"testing"
	"time"

	"lifeline/internal/cluster/engine"
	"lifeline/internal/cluster/enginetest"
	"lifeline/proof/need"
)

// silent is a transport to an HTTP server that isn't there.
type silent struct{}

func (silent) RoundTrip(*http.Request) (*http.Response, error) {
	return nil, errors.New("no HTTP here")
}

// TestClockOfMostOthers checks that nodes compare their clocks where etcd shows none. A
// node that differs from most others is wrong; of two that differ, both are.
func TestClockOfMostOthers(t *testing.T) {
	need.Time(t, "seconds on a quiet machine")
	server := enginetest.Etcd(t)
	const skew = time.Minute
	decade := 87600 * time.Hour
	for _, test := range []struct {
		ahead []time.Duration
		wrong string
	}{
		{[]time.Duration{0}, "[false]"},
		{[]time.Duration{0, 0, decade}, "[false false true]"},
		{[]time.Duration{-decade, 0, 0}, "[true false false]"},
		{[]time.Duration{0, decade}, "[true true]"},
		{[]time.Duration{0, 0, 0, decade, decade}, "[false false false true true]"},
		{[]time.Duration{0, decade, -decade}, "[true true true]"},
		{[]time.Duration{0, 30 * time.Second, -30 * time.Second}, "[false false false]"},
		{[]time.Duration{0, 2 * time.Minute, 0}, "[false true false]"},
		{[]time.Duration{0, -2 * time.Minute, 0}, "[false true false]"},
	} {
		name := fmt.Sprint(test.ahead)
		var nodes []*Etcd
		wall := func(i int) func() time.Time { return func() time.Time { return time.Now().Add(test.ahead[i]) } }
		for i := range test.ahead {
			e, err := Open(t.Context(), server, "", "clocks")
			if err != nil {
				t.Fatal(err)
			}
			e.http.Transport = silent{} // as where it has --listen-client-http-urls
			m := engine.Member{Name: "clocks", Node: fmt.Sprint(i), TTL: time.Minute, Slots: 1}
			if _, err := e.Join(t.Context(), m); err != nil {
				t.Fatal(err)
			}
			if _, err := e.Clock(t.Context(), wall(i)); err != nil {
				t.Fatal(err)
			}
			nodes = append(nodes, e)
		}
		wrong := []bool{}
		for i, e := range nodes {
			c, err := e.Clock(t.Context(), wall(i))
			if err != nil || c.Alone != (len(nodes) == 1) || c.At.IsZero() && !c.Alone {
				t.Fatalf("%s: node %d has %+v, %v", name, i, c, err)
			}
			wrong = append(wrong, !c.Alone && wall(i)().Sub(c.At).Abs() > skew)
		}
		if got := fmt.Sprint(wrong); got != test.wrong {
			t.Errorf("%s: wrong are %s, not %s", name, got, test.wrong)
		}
		for _, e := range nodes {
			if err := e.Leave(t.Context()); err != nil {
				t.Fatal(err)
			}
			e.Close()
		}
	}
}
