package guard

import (
	"fmt"
	"strings"
)

const nameMax = 128

// NameError says why a name was refused.
type NameError struct{ Name, Why string }

func (e *NameError) Error() string {
	return fmt.Sprintf("%s: a name is 1 to %d letters, digits and . _ - : @ +, and begins with a letter or digit",
		e.Why, nameMax)
}

// CheckName accepts 1 to 128 characters of ASCII letters, digits, '.', '_', '-',
// ':', '@' and '+', beginning with a letter or digit. The error is a *[NameError]
// that names the offending character.
func CheckName(name string) error {
	bad := func(format string, args ...any) error {
		return &NameError{Name: name, Why: fmt.Sprintf(format, args...)}
	}
	switch {
	case name == "":
		return bad("the name is empty")
	case len(name) > nameMax:
		return bad("the name has %d characters", len(name))
	}
	for i, c := range name {
		alnum := c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9'
		switch {
		case alnum:
		case i == 0:
			return bad("the name %q begins with %q", name, c)
		case !strings.ContainsRune("._-:@+", c):
			return bad("the name %q contains %q", name, c)
		}
	}
	return nil
}
