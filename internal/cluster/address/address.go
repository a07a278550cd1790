// Package address reads the addresses of engines strictly, so that no part of a
// password is taken for a part that may be shown:
//
//	if err := address.Check(typed); err != nil { … } // says nothing of what was typed
//	if address.Secret(typed) { … }                   // there is a password in it
//	log(address.Hide(typed))
//	log(address.Scrub(text, os.Args))                // of a text that may repeat what was typed
//	url, err := address.Read(typed)                  // of the file, where @FILE was typed
package address

import (
	"errors"
	"fmt"
	"net/url"
	"os"
	"slices"
	"strconv"
	"strings"
)

// optionsOf returns the options that may follow the ? in an address with the scheme;
// nil for an unknown scheme. An unknown option may be the rest of a password.
func optionsOf(scheme string) []string {
	switch scheme {
	case "etcd", "etcds":
		return []string{"cacert", "cert", "key", "user", "password"}
	case "postgres", "postgresql": // libpq, 34.1.2, as pgx has them
		return []string{"host", "port", "database", "dbname", "user", "password", "passfile", "service", "servicefile",
			"sslmode", "sslcert", "sslkey", "sslrootcert", "sslpassword", "sslsni", "sslnegotiation", "sslcertmode",
			"connect_timeout", "target_session_attrs", "min_protocol_version", "max_protocol_version",
			"channel_binding", "require_auth", "krbsrvname", "krbspn", "application_name", "client_encoding",
			"options", "timezone"}
	}
	return nil
}

// Check refuses an address whose parts are ambiguous. A user or password with
// one of / ? # @ must be written with %2F and so on.
func Check(address string) error {
	scheme, rest, ok := strings.Cut(address, "://")
	known := optionsOf(scheme)
	if !ok || known == nil {
		return errors.New("an address is etcd://HOST:2379,HOST:2379 or postgres://HOST/DATABASE")
	}
	authority, more := split(rest)
	user, hosts, _ := cutLast(authority)
	path, query, _ := strings.Cut(more, "?")
	_, uerr := url.PathUnescape(user)
	_, perr := url.PathUnescape(path)
	_, qerr := url.ParseQuery(query)
	switch {
	case strings.ContainsAny(user, "@") || strings.ContainsAny(more, "@#"):
		return errors.New("in the address, write / as %2F, ? as %3F, # as %23 and @ as %40 where they belong to a " +
			"user, a password or a value")
	case uerr != nil || perr != nil || qerr != nil:
		return errors.New("in the address, a % stands before two hexadecimal digits: write % itself as %25")
	case strings.ContainsFunc(address, func(r rune) bool { return r <= ' ' || r == 0x7f }):
		return errors.New("in the address, write a space as %20")
	case strings.ContainsFunc(user, func(r rune) bool {
		return r >= 0x80 || strings.ContainsRune(`"<>[\]^{|}`+"`", r)
	}):
		return errors.New("in the address, write what isn't a letter, a digit or one of -._~!$&'()*+,;= as % and two " +
			"hexadecimal digits a byte where it belongs to a user or a password")
	case !areHosts(hosts, scheme):
		return errors.New("in the address, a host is a name or an IP address, perhaps with :PORT, and a user or " +
			"password stands before an @")
	case strings.HasPrefix(scheme, "etcd") && path != "" && path != "/", strings.Count(path, "/") > 1:
		return errors.New("in the address, etcd's hosts end it, and PostgreSQL's have one /DATABASE after them")
	}
	for pair := range strings.SplitSeq(query, "&") {
		key, _, has := strings.Cut(pair, "=")
		key, _ = url.QueryUnescape(key) // ParseQuery has read it
		if query != "" && (!has || !slices.Contains(known, key)) {
			return fmt.Errorf("in the address, what follows the ? has an option that %s:// lacks: it knows %s; write "+
				"& as %%26 and = as %%3D in a value", scheme, strings.Join(known, ", "))
		}
	}
	return nil
}

// Is reports whether a word is an address or @FILE, not a name.
func Is(word string) bool { return strings.Contains(word, "://") || strings.HasPrefix(word, "@") }

// Read returns the address in FILE for @FILE, else typed itself. Engines call it for
// each connection, because the file may be replaced.
func Read(typed string) (string, error) {
	file, ok := strings.CutPrefix(typed, "@")
	if !ok {
		return typed, Check(typed)
	}
	text, err := os.ReadFile(file)
	if err != nil {
		return "", fmt.Errorf("cannot read the engine's address: %w", err)
	}
	address := strings.TrimSpace(string(text))
	if err := Check(address); err != nil {
		return "", fmt.Errorf("in the file %s: %w", file, err)
	}
	return address, nil
}

// areHosts reports whether the text is HOST:PORT,HOST:PORT, where both may be
// left out in PostgreSQL's addresses, and the port in etcd's.
func areHosts(text, scheme string) bool {
	for host := range strings.SplitSeq(text, ",") {
		name, port, has := host, "", false
		if i := strings.LastIndexByte(host, ':'); i >= 0 && !strings.HasSuffix(host, "]") {
			name, port, has = host[:i], host[i+1:], true
		}
		if n, err := strconv.ParseUint(port, 10, 16); has && (err != nil || n == 0) {
			return false
		}
		inner, bracketed := strings.CutPrefix(name, "[")
		if bracketed {
			var closed bool
			inner, closed = strings.CutSuffix(inner, "]")
			if !closed || inner == "" {
				return false
			}
		}
		if inner == "" && strings.HasPrefix(scheme, "etcd") || strings.ContainsFunc(inner, func(r rune) bool {
			return !(r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' ||
				strings.ContainsRune("-._%~", r) || bracketed && r == ':')
		}) {
			return false
		}
	}
	return true
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

// Secret reports whether an address may have a password in any of its forms. An invalid
// address with an engine's scheme counts as secret. An invalid address with another
// scheme, which may be misspelt, counts if it has an @, a % or the word "pass".
func Secret(address string) bool {
	scheme, rest, ok := strings.Cut(address, "://")
	if strings.HasPrefix(address, "@") {
		return false
	}
	if Check(address) != nil {
		return ok && optionsOf(strings.ToLower(scheme)) != nil || strings.ContainsAny(address, "@%") ||
			strings.Contains(strings.ToLower(address), "pass")
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

// Hide shows an address without its password and its options, or @FILE. Of an
// address that can't be parsed it shows only the scheme.
func Hide(address string) string {
	scheme, rest, _ := strings.Cut(address, "://")
	if strings.HasPrefix(address, "@") {
		return address
	}
	if optionsOf(scheme) == nil {
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

// Scrub hides the secrets in text of all words, of a command line, that seem to be an
// engine's address.
func Scrub(text string, words []string) string {
	for _, word := range words {
		if flag, value, ok := strings.Cut(word, "="); ok && strings.HasPrefix(flag, "-") {
			word = value
		}
		if !seems(word) || !Secret(word) {
			continue
		}
		quoted := strconv.Quote(word)
		text = strings.ReplaceAll(text, word, Hide(word))
		text = strings.ReplaceAll(text, quoted[1:len(quoted)-1], Hide(word))
	}
	return text
}

// seems reports whether a word was meant as an engine's address.
func seems(word string) bool {
	scheme, _, ok := strings.Cut(word, ":")
	if scheme == "unix" || strings.HasSuffix(scheme, "=unix") { // an address of --listen, which has no user
		return false
	}
	return strings.Contains(word, "://") || ok && optionsOf(strings.ToLower(scheme)) != nil
}
