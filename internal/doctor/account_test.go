package doctor

import (
	"strings"
	"testing"
	"time"
)

func TestAgeing(t *testing.T) {
	now := time.Date(2024, 5, 5, 9, 0, 0, 0, time.UTC) // day 19848
	for line, want := range map[string]string{
		"ann:*:19000:0:99999:7:::":      "",
		"ann:!:19000:0:99999:7:::":      "", // locked for logins, but cron starts the jobs
		"ann:*:19000:0:99999:7::19848:": "account",
		"ann:*:19000:0:99999:7::19849:": "",
		"ann:*:0:0:99999:7:::":          mustChange,
		"ann:*:19000:0:30:7:::":         outOfDate,
		"ann:*:19818:0:30:7:::":         "",
		"ann:*:19817:0:30:7:5::":        outOfDate,
		"ann:*::0::7:::":                "",
	} {
		if got := ageingOf(strings.Split(line, ":"), now); got != want {
			t.Errorf("%s: %q, want %q", line, got, want)
		}
	}
	chage := func(changed, password, account string) string {
		return "Last password change\t: " + changed + "\nPassword expires\t: " + password +
			"\nPassword inactive\t: never\nAccount expires\t: " +
			account + "\nMinimum number of days between password change\t: 0\n"
	}
	for text, want := range map[string]string{
		chage("Jan 08, 2022", "never", "never"):                                       "",
		chage("Jan 08, 2022", "never", "May 05, 2024"):                                "account",
		chage("Jan 08, 2022", "never", "May 06, 2024"):                                "",
		chage("Jan 08, 2022", "Feb 07, 2022", "never"):                                outOfDate,
		chage("May 04, 2024", "Jun 03, 2024", "never"):                                "",
		strings.ReplaceAll(chage("P", "P", "never"), "P", "password must be changed"): mustChange,
		"": "",
	} {
		if got := chageSays(text, now); got != want {
			t.Errorf("%q, want %q, of\n%s", got, want, text)
		}
	}
}
