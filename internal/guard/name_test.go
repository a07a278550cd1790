package guard

import (
	"errors"
	"regexp"
	"strings"
	"testing"

	"lifeline/internal/identity"
)

// valid is the rule as the manual has it.
var valid = regexp.MustCompile(`\A[A-Za-z0-9][A-Za-z0-9._:@+-]{0,127}\z`)

func TestCheckName(t *testing.T) {
	for _, good := range []string{"a", "7", "Z", "web", "web.1", "a_b-c:d@e+f", "9lives", "a..", "a--",
		strings.Repeat("n", 128)} {
		if err := CheckName(good); err != nil {
			t.Errorf("%q: %v", good, err)
		}
	}
	for bad, why := range map[string]string{
		"":                       "is empty",
		strings.Repeat("n", 129): "has 129 characters",
		".":                      `begins with '.'`,
		"..":                     `begins with '.'`,
		"-web":                   `begins with '-'`,
		"_web":                   `begins with '_'`,
		"@web":                   `begins with '@'`,
		"/web":                   `begins with '/'`,
		"é":                      `begins with 'é'`,
		"a/b":                    `contains '/'`,
		"a b":                    `contains ' '`,
		"a\nb":                   `contains '\n'`,
		"a\x00b":                 `contains '\x00'`,
		"a\\b":                   `contains '\\'`,
		"a*":                     `contains '*'`,
		"a%b":                    `contains '%'`,
		"caf\u00e9":              `contains 'é'`,
		"a\u0661":                `contains`, // a digit, but not an ASCII one
		"a\xff":                  `contains`,
	} {
		err := CheckName(bad)
		var named *NameError
		if !errors.As(err, &named) || named.Name != bad || !strings.Contains(err.Error(), why) ||
			!strings.Contains(err.Error(), "a name is 1 to 128") {
			t.Errorf("%q: %v, not %q", bad, err, why)
		}
		if strings.ContainsAny(err.Error(), "\n\x00") {
			t.Errorf("%q: the message is more than a line", bad)
		}
	}
}

func TestKey(t *testing.T) {
	seen := map[string]string{}
	for _, name := range []string{"app", "App", "APP", "app2", "app-", "app.lock", "a", "app-e74fa719056a"} {
		folded := strings.ToLower(identity.Key(name)) // what some file systems do
		if other, ok := seen[folded]; ok {
			t.Errorf("%q and %q share the files %s", name, other, folded)
		}
		seen[folded] = name
	}
	// Other versions of lifeline, and the manual, rely on this form.
	if got := identity.Key("app"); got != "app-e74fa719056a" {
		t.Errorf("the key of app is %s", got)
	}
}

func FuzzCheckName(f *testing.F) {
	for _, s := range []string{"web", "a/b", "..", "", "a\x00", "é", "a:b@c+d", strings.Repeat("n", 129)} {
		f.Add(s, "other")
	}
	f.Fuzz(func(t *testing.T, name, other string) {
		if ok := CheckName(name) == nil; ok != valid.MatchString(name) {
			t.Fatalf("%q: accepted is %t, the rule says %t", name, ok, !ok)
		}
		if CheckName(name) != nil || CheckName(other) != nil {
			return
		}
		k := identity.Key(name)
		// The key must be safe as a file's name and as an argument, with the longest ending.
		if strings.ContainsAny(k, "/\x00") || k[0] == '.' || k[0] == '-' || len(k)+len(".paused.4194304") > 255 {
			t.Errorf("%q has the key %q", name, k)
		}
		if name != other && strings.EqualFold(k, identity.Key(other)) {
			t.Errorf("%q and %q share the key %q", name, other, k)
		}
		// The key gives the name back.
		if k[:len(k)-13] != name {
			t.Errorf("%q has the key %q", name, k)
		}
	})
}
