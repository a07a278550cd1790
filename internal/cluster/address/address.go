// Package address reads the addresses of engines strictly, so that no part of a
// password is ever taken for something that may be shown:
//
//	if err := address.Check(typed); err != nil { … } // says nothing of what was typed
//	if address.Secret(typed) { … }                   // there is a password in it
//	log(address.Hide(typed))
package address

import (
	"errors"
	"net/url"
	"strings"
)

// Check refuses an address whose parts are ambiguous: a user or password with
// one of / ? # @ must be written with %2F and so on.
func Check(address string) error {
	scheme, rest, ok := strings.Cut(address, "://")
	if !ok || strings.ContainsFunc(scheme, func(r rune) bool { return r < 'a' || r > 'z' }) {
		return errors.New("an address is etcd://HOST:2379,HOST:2379 or postgres://HOST/DATABASE")
	}
	authority, more := split(rest)
	user, _, _ := cutLast(authority)
	path, query, _ := strings.Cut(more, "?")
	_, uerr := url.PathUnescape(user)
	_, perr := url.PathUnescape(path)
	_, qerr := url.ParseQuery(query)
	switch {
	case strings.ContainsAny(user, "@") || strings.ContainsAny(more, "@#"):
		return errors.New("in the address, write / as %2F, ? as %3F, # as %23 and @ as %40 where they belong to a user, " +
			"a password or a value")
	case uerr != nil || perr != nil || qerr != nil:
		return errors.New("in the address, a % stands before two hexadecimal digits: write % itself as %25")
	case strings.ContainsFunc(address, func(r rune) bool { return r <= ' ' || r == 0x7f }):
		return errors.New("in the address, write a space as %20")
	}
	return nil
}

// split cuts the authority (user, password, hosts) from what follows it.
func split(rest string) (authority, more string) {
	if i := strings.IndexAny(rest, "/?#"); i >= 0 {
		return rest[:i], rest[i:]
	}
	return rest, ""
}

// cutLast cuts at the last @.
func cutLast(authority string) (user, hosts string, found bool) {
	if i := strings.LastIndexByte(authority, '@'); i >= 0 {
		return authority[:i], authority[i+1:], true
	}
	return "", authority, false
}

// Secret reports that an address has a password in any of its forms. An address
// that can't be parsed may have one, and counts.
func Secret(address string) bool {
	_, rest, ok := strings.Cut(address, "://")
	if !ok || Check(address) != nil {
		return ok || strings.Contains(address, "@")
	}
	authority, more := split(rest)
	if user, _, _ := cutLast(authority); strings.Contains(user, ":") {
		return true
	}
	_, query, _ := strings.Cut(more, "?")
	values, _ := url.ParseQuery(query) // Check has read it
	for key := range values {
		if key := strings.ToLower(key); key == "password" || key == "sslpassword" {
			return true
		}
	}
	return false
}

// Hide shows an address without its password and its options. Of an address
// that can't be parsed it shows only the scheme.
func Hide(address string) string {
	scheme, rest, ok := strings.Cut(address, "://")
	if !ok || strings.ContainsFunc(scheme, func(r rune) bool { return r < 'a' || r > 'z' }) {
		return "the address"
	}
	if Check(address) != nil {
		return scheme + "://…"
	}
	authority, more := split(rest)
	if user, hosts, found := cutLast(authority); found {
		name, _, _ := strings.Cut(user, ":")
		authority = name + "@" + hosts
	}
	path, _, _ := strings.Cut(more, "?")
	return scheme + "://" + authority + path
}
