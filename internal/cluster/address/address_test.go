package address

import (
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
		"postgres://h/db?PassWord=hunter2":      {true, true, "postgres://h/db"},
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
		if text := Hide(address); strings.Contains(text, "hunter") || err != nil && strings.Contains(err.Error(), "hunter") {
			t.Errorf("%s is shown: %s, %v", address, text, err)
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
			before + password + after} {
			if text := Hide(address); strings.Contains(text, before) || strings.Contains(text, after) || !Secret(address) {
				t.Errorf("%q is shown as %q", address, text)
			}
		}
	})
}
