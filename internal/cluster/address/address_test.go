package address

import (
	"fmt"
	"strings"
	"testing"
)

func TestAddress(t *testing.T) {
	for address, want := range map[string]struct {
		good, secret bool
		hidden       string
	}{
		"etcd://h1:2379,h2:2379":                {true, false, "etcd://h1:2379,h2:2379"},
		"etcd://[::1]:2379?cacert=/etc/ca":      {true, false, "etcd://[::1]:2379"},
		"postgres://u@h:5432/db?sslmode=x":      {true, false, "postgres://u@h:5432/db"},
		"postgres://u:hunter2@h/db":             {true, true, "postgres://u@h/db"},
		"postgres://u:hunter%2F2@h/db":          {true, true, "postgres://u@h/db"},
		"postgres://h/db?passw%6frd=hunter2":    {true, true, "postgres://h/db"},
		"postgres://h/db?PassWord=hunter2":      {false, true, "postgres://…"},
		"postgres:///db?host=/var/run&user=u":   {true, false, "postgres:///db"},
		"postgres://%2Fvar%2Frun/db":            {true, false, "postgres://%2Fvar%2Frun/db"},
		"postgres://h1:5432,h2:5432/db":         {true, false, "postgres://h1:5432,h2:5432/db"},
		"etcd://h1:2379/":                       {true, false, "etcd://h1:2379/"},
		"postgres://u:hunter2/db":               {false, true, "postgres://…"},
		"postgres://u:hunter2@h:bad/db":         {false, true, "postgres://…"},
		"postgres://u:hunter2@h/db/x":           {false, true, "postgres://…"},
		"postgres://h/db?password=a&hunter2":    {false, true, "postgres://…"},
		"postgres://h/db?password=a&hunter2=3":  {false, true, "postgres://…"},
		"postgres://u:hunt\"er2@h/db":           {false, true, "postgres://…"},
		"etcd://h,u:hunter2":                    {false, true, "etcd://…"},
		"etcd://u:hunter2/x":                    {false, true, "etcd://…"},
		"etcd://h/hunter2":                      {false, true, "etcd://…"},
		"etcd://h?password=a&hunter2":           {false, true, "etcd://…"},
		"etcd://u:hunter2@":                     {false, true, "etcd://…"},
		"etcd://[::1/hunter2":                   {false, true, "etcd://…"},
		"Postgres://u:hunter2@h/db":             {false, true, "the address"},
		"u:hunter2@postgres://h":                {false, true, "the address"},
		"postgres://h/db?sslpassword=hunter2":   {true, true, "postgres://h/db"},
		"postgres://u:hunter/2@h/db":            {false, true, "postgres://…"},
		"postgres://u:hunter@2@h/db":            {false, true, "postgres://…"},
		"postgres://u:hunter?2@h/db":            {false, true, "postgres://…"},
		"postgres://u:hunter#2@h/db":            {false, true, "postgres://…"},
		"postgres://u:hunter%2@h/db":            {false, true, "postgres://…"},
		"postgres://u:%zzhunter2@h/db":          {false, true, "postgres://…"},
		"postgres://h/db?x=1;password=hunter2":  {false, true, "postgres://…"},
		"postgres://h/db?application_name=a@b":  {false, true, "postgres://…"},
		"u:hunter2@h":                           {false, true, "the address"},
		"h:2379":                                {false, false, "the address"},
		"postgres://u:hunter 2@h/db":            {false, true, "postgres://…"},
		"postgres:u:hunter2@h/db?x=postgres://": {false, true, "the address"},
	} {
		err := Check(address)
		if (err == nil) != want.good || Secret(address) != want.secret || Hide(address) != want.hidden {
			t.Errorf("%s: %v, a secret in it %t, shown as %s", address, err, Secret(address), Hide(address))
		}
		if text := Hide(address); strings.Contains(text, "hunter") || err != nil &&
			strings.Contains(err.Error(), "hunter") {
			t.Errorf("%s is shown: %s, %v", address, text, err)
		}
	}
}

// TestScrub checks that an address is shown without its password. A message may repeat
// a word of the command line, as it is or quoted.
func TestScrub(t *testing.T) {
	for _, word := range []string{"postgres://u:hunter2@h/db", "--cluster=postgres://u:hunter2@h/db",
		"postgres:/u:hunter2@h",
		"Postgres:u:hunter2@h", "etcd://u:hun\"ter2@h"} {
		for _, format := range []string{"cannot read %s.", "cannot read %q."} {
			if text := Scrub(fmt.Sprintf(format, word), []string{"lifeline", word}); strings.Contains(text, "hun") ||
				!strings.HasPrefix(text, "cannot read ") {
				t.Errorf("%s: %s", word, text)
			}
		}
	}
	for _, word := range []string{"web", "web@2", "h:2379", "unix://@web", "a=unix://@web?mode=600",
		"postgres://u@h/db", "postgres"} {
		if text := Scrub("it is "+word, []string{word}); text != "it is "+word {
			t.Error(text)
		}
	}
}

// FuzzHide checks that no part of a password is shown.
func FuzzHide(f *testing.F) {
	for _, seed := range []string{"hunter2", "a/b", "a@b", "a%40b", "?", "#x", ":", "%"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, password string) {
		const before, after = "QZX", "XZQ" // in nothing else
		for _, address := range []string{"postgres://u:" + before + password + after + "@h/db", "etcd://h?password=" +
			before + password + after, "postgres://h/db?password=" + before + password + after + "&user=u"} {
			text := Hide(address) + Scrub(fmt.Sprintf("%s %q", address, address), []string{address})
			if err := Check(address); err != nil {
				text += err.Error()
			}
			if strings.Contains(text, before) || strings.Contains(text, after) || !Secret(address) {
				t.Errorf("%q is shown as %q", address, text)
			}
		}
	})
}
