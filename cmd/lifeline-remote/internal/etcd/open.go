package etcd

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"os"
	"slices"
	"strings"
	"sync"
	"time"

	"go.etcd.io/etcd/api/v3/etcdserverpb"
	clientv3 "go.etcd.io/etcd/client/v3"
	"go.etcd.io/etcd/client/v3/namespace"
	"go.uber.org/zap"

	"lifeline/internal/cluster/address"
	"lifeline/internal/cluster/engine"
)

// Open connects to etcd for a team's name. "" is no team; with the name "" the engine
// only looks.
func Open(ctx context.Context, typed, team, name string) (*Etcd, error) {
	s := space(team)
	config, err := parse(typed)
	if err != nil {
		return nil, err
	}
	c, err := s.connect(config)
	if err != nil {
		return nil, err
	}
	if err := s.check(ctx, c); err != nil {
		if why := reason(ctx, config); why != nil && !errors.As(err, new(*engine.Refused)) {
			err = why
		}
		_ = c.Close()
		return nil, err
	}
	watching, stop := context.WithCancel(context.Background())
	e := &Etcd{space: s, typed: typed, c: c, now: c, config: config, name: name, changes: make(chan struct{}, 1),
		stop: stop,
		seen: map[string]observation{}}
	e.http = &http.Client{Transport: e.transport()}
	if name != "" {
		e.over.Add(1)
		go e.watch(watching)
		if config.Username != "" && fromFile(typed) {
			e.over.Add(1)
			go e.refresh(watching)
		}
	}
	return e, nil
}

// connect makes a client that puts the team before each key, but not before those that
// it watches. namespace's watcher can't be closed while a watch begins, as takeUp does.
func (s space) connect(config *clientv3.Config) (*clientv3.Client, error) {
	config.Context = context.Background()
	c, err := clientv3.New(*config)
	if err != nil {
		return nil, s.refine(err)
	}
	if s != "" {
		c.KV = namespace.NewKV(c.KV, s.of())
	}
	return c, nil
}

func (e *Etcd) transport() *http.Transport {
	return &http.Transport{TLSClientConfig: e.config.TLS, DisableKeepAlives: true}
}

// check checks what every call needs: an answer, a leader, permission, etcd 3.4 or later.
func (s space) check(ctx context.Context, c *clientv3.Client) error {
	asking, cancel := context.WithTimeout(ctx, 4*time.Second)
	defer cancel()
	if _, err := c.Get(asking, version); err != nil {
		return s.refine(err)
	}
	// The client's own Status asks one endpoint, which may have died.
	status, err := etcdserverpb.NewMaintenanceClient(c.ActiveConnection()).Status(asking,
		&etcdserverpb.StatusRequest{})
	if err != nil {
		return nil // etcd has answered before
	}
	for _, old := range []string{"2.", "3.0.", "3.1.", "3.2.", "3.3."} {
		if strings.HasPrefix(status.Version, old) {
			return engine.Refuse("this etcd is version %s: 3.4 or later is needed", status.Version)
		}
	}
	return nil
}

// Reason connects to the members by itself, because the client reports only a
// timeout.
func (e *Etcd) Reason(ctx context.Context) error {
	e.mu.Lock()
	config := e.config
	e.mu.Unlock()
	return reason(ctx, config)
}

// reason returns why a member can't be reached: an error that an operator must correct,
// else the first error. It is nil if all members can be reached.
func reason(ctx context.Context, config *clientv3.Config) (first error) {
	list := make([]error, len(config.Endpoints))
	var all sync.WaitGroup
	for i, endpoint := range config.Endpoints {
		all.Go(func() { list[i] = probe(ctx, config, endpoint) })
	}
	all.Wait()
	for _, err := range list {
		if errors.As(err, new(*engine.Refused)) {
			return err
		}
		if first == nil {
			first = err
		}
	}
	return first
}

// probe makes a connection to a member. It reads after the handshake, because a TLS 1.3
// server refuses the client's certificate only then.
func probe(ctx context.Context, config *clientv3.Config, endpoint string) error {
	address := strings.TrimPrefix(strings.TrimPrefix(endpoint, "https://"), "http://")
	host, _, _ := net.SplitHostPort(address)
	dialer := &net.Dialer{Timeout: 2 * time.Second}
	plain, err := dialer.DialContext(ctx, "tcp", address)
	if err != nil {
		return fmt.Errorf("no connection to etcd: %w", err)
	}
	_ = plain.Close()
	own := &tls.Config{InsecureSkipVerify: true} // only checks whether the server speaks TLS
	if config.TLS != nil {
		own = config.TLS.Clone()
	}
	own.ServerName, own.NextProtos = host, []string{"h2"}
	d := tls.Dialer{NetDialer: dialer, Config: own}
	c, err := d.DialContext(ctx, "tcp", address)
	if err == nil {
		_ = c.SetReadDeadline(time.Now().Add(time.Second))
		if config.TLS != nil {
			_, err = c.Read(make([]byte, 1))
		}
		_ = c.Close()
	}
	switch {
	case config.TLS != nil:
		if err = space("").refine(err); errors.As(err, new(*engine.Refused)) {
			return err
		}
	case err == nil:
		return engine.Refuse("etcd at %s speaks TLS: give etcds://, or its authority as ?cacert=FILE", address)
	}
	return nil
}

// parse reads an address. It splits the hosts at commas itself, because net/url
// can't.
func parse(typed string) (*clientv3.Config, error) {
	typed, err := address.Read(typed)
	if err == nil && !strings.HasPrefix(typed, "etcd") {
		err = errors.New("the address is another engine's now: lifeline terminate NAME, and the next tick uses that")
	}
	if err != nil {
		return nil, engine.Misused("--cluster: %v", err)
	}
	scheme, rest, _ := strings.Cut(typed, "://")
	hosts, query, _ := strings.Cut(rest, "?")
	secrets, err := engine.ReadSecrets()
	if err != nil {
		return nil, err
	}
	hosts = strings.TrimSuffix(hosts, "/")
	if i := strings.LastIndexByte(hosts, '@'); i >= 0 {
		user, password, has := strings.Cut(hosts[:i], ":")
		if secrets.User, err = url.PathUnescape(user); err == nil && has {
			secrets.Password, err = url.PathUnescape(password)
		}
		if err != nil {
			return nil, engine.Misused("--cluster: the user can't be read: %% stands for a byte, as %%40 for @")
		}
		hosts = hosts[i+1:]
	}
	values, err := url.ParseQuery(query)
	if err != nil {
		return nil, engine.Misused("--cluster: what follows the ? can't be read")
	}
	for key := range values {
		v := values.Get(key)
		switch key {
		case "cacert":
			secrets.CACert = v
		case "cert":
			secrets.Cert = v
		case "key":
			secrets.Key = v
		case "user":
			secrets.User = v
		case "password":
			secrets.Password = v
		}
	}
	c := &clientv3.Config{
		DialTimeout: 3 * time.Second, DialKeepAliveTime: 3 * time.Second, DialKeepAliveTimeout: 2 * time.Second,
		Username: secrets.User, Password: secrets.Password, Logger: zap.NewNop(),
	}
	if c.Username != "" && c.Password == "" {
		return nil, engine.Refuse("the password of etcd's user %s is missing: set %s or %s",
			c.Username, engine.EnvPassword, engine.EnvPasswordFile)
	}
	plain := "http://"
	if scheme == "etcds" || secrets.CACert != "" || secrets.Cert != "" {
		plain = "https://"
	}
	var all []string
	for host := range strings.SplitSeq(hosts, ",") {
		if _, _, err := net.SplitHostPort(host); err != nil {
			host = net.JoinHostPort(strings.Trim(host, "[]"), "2379")
		}
		if !slices.Contains(all, host) {
			all, c.Endpoints = append(all, host), append(c.Endpoints, plain+host)
		}
	}
	if plain == "https://" {
		if c.TLS, err = tlsConfig(secrets, all...); err != nil {
			return nil, err
		}
	}
	return c, nil
}

func authorities(path string) (*x509.CertPool, error) {
	text, err := os.ReadFile(path)
	if err != nil {
		return nil, engine.Refuse("cannot read the authority's certificate: %v", err)
	}
	pool := x509.NewCertPool()
	if !pool.AppendCertsFromPEM(text) {
		return nil, engine.Refuse("there is no certificate in %s", path)
	}
	return pool, nil
}

// tlsConfig makes the configuration for connections to hosts, host:port each.
func tlsConfig(s engine.Secrets, hosts ...string) (*tls.Config, error) {
	c := &tls.Config{MinVersion: tls.VersionTLS12}
	if s.CACert != "" {
		if _, err := authorities(s.CACert); err != nil {
			return nil, err
		}
		// The authority's file is read at every connection, because it may be replaced.
		// So the checks of crypto/tls with RootCAs are done here.
		c.InsecureSkipVerify = true
		c.VerifyConnection = func(state tls.ConnectionState) error {
			roots, err := authorities(s.CACert)
			if err != nil {
				return err
			}
			between := x509.NewCertPool()
			for _, cert := range state.PeerCertificates[1:] {
				between.AddCert(cert)
			}
			leaf := state.PeerCertificates[0]
			if _, err := leaf.Verify(x509.VerifyOptions{Roots: roots, Intermediates: between}); err != nil {
				return err
			}
			if state.ServerName != "" {
				return leaf.VerifyHostname(state.ServerName)
			}
			err = errors.New("x509: no host was asked for by its address")
			for _, host := range hosts { // ServerName has no IP addresses (RFC 6066, 3), so any host's address counts
				if name, _, e := net.SplitHostPort(host); e == nil && net.ParseIP(name) != nil {
					if err = leaf.VerifyHostname(name); err == nil {
						return nil
					}
				}
			}
			return err
		}
	}
	if (s.Cert == "") != (s.Key == "") {
		return nil, engine.Misused("a client's certificate has a key: give both, cert and key")
	}
	if s.Cert == "" {
		return c, nil
	}
	pair, err := tls.LoadX509KeyPair(s.Cert, s.Key)
	if err != nil {
		return nil, engine.Refuse("cannot use the client's certificate %s with the key %s: %v", s.Cert, s.Key, err)
	}
	leaf, err := x509.ParseCertificate(pair.Certificate[0])
	if err == nil && time.Now().After(leaf.NotAfter) {
		return nil, engine.Refuse("the client's certificate %s has expired on %s: renew it", s.Cert,
			leaf.NotAfter.Format(time.DateTime))
	}
	// The certificate is read at every connection, because it may be renewed.
	c.GetClientCertificate = func(*tls.CertificateRequestInfo) (*tls.Certificate, error) {
		pair, err := tls.LoadX509KeyPair(s.Cert, s.Key)
		return &pair, err
	}
	return c, nil
}
