package launch

import (
	"reflect"
	"testing"
)

func TestPlan(t *testing.T) {
	n, m := -5, 500
	for _, p := range []Plan{
		{Path: "/bin/a b"},
		{Path: "./x path=y", Listen: true},
		{Path: "x", Until: 12345},
		{Path: "x", Conditions: Conditions{User: &User{UID: 1, GID: 2}}},
		{Path: "x", Conditions: Conditions{User: &User{UID: -1, GID: 2, Groups: []int{}}}},
		{Path: "x", Listen: true, Until: 1,
			Conditions: Conditions{Nice: &n, OOM: &m, Limits: []Limit{{7, 1, 2}, {0, 0, 1<<64 - 1}},
				User: &User{UID: 1000, GID: 1000, Groups: []int{4, 24}}}},
	} {
		got, err := parse(p.String())
		if err != nil || !reflect.DeepEqual(got, p) {
			t.Errorf("%q is read as %+v, %v", p, got, err)
		}
	}
	for _, text := range []string{"", "x", "listen= x=y path=z", "until=x path=z", "user=1 path=z", "limit=1:2 path=z",
		"nice=x path=y", "user=a:b path=x", "user=1:2:x path=y"} {
		if p, err := parse(text); err == nil {
			t.Errorf("%q is read as %+v", text, p)
		}
	}
}
