package machine

import (
	"context"
	"fmt"
	"net"
	"strconv"
	"strings"
	"time"

	"github.com/redis/go-redis/v9"
	etcd "go.etcd.io/etcd/client/v3"
	"go.uber.org/zap"
)

// Stored is a store that runs: one process of Redis, or several of etcd.
type Stored struct {
	Processes []*Process
	Addresses []string
}

// CPU is that of all its processes.
func (s *Stored) CPU() (sum time.Duration) {
	for _, p := range s.Processes {
		sum += p.CPU()
	}
	return sum
}

// StartRedis starts Redis with an append-only file, or without if fsync is empty.
func (m *Machine) StartRedis(ctx context.Context, core Core, host, fsync string) (*Stored, error) {
	dir, err := m.Dir("redis")
	if err != nil {
		return nil, err
	}
	port := m.Ports(host)
	args := []string{"--port", strconv.Itoa(port), "--bind", host, "--dir", dir, "--save", "", "--daemonize", "no"}
	if fsync != "" {
		args = append(args, "--appendonly", "yes", "--appendfsync", fsync)
	}
	p, err := m.Start("redis", core, "redis-server", args...)
	if err != nil {
		return nil, err
	}
	s := &Stored{[]*Process{p}, []string{net.JoinHostPort(host, strconv.Itoa(port))}}
	c := redis.NewClient(&redis.Options{Addr: s.Addresses[0]})
	defer c.Close()
	return s, p.Await(ctx, "answering", func() bool { return c.Ping(ctx).Err() == nil })
}

// StartEtcd starts three members. Told gives the address under which the others reach a member's peer port; between is
// called with both before any starts, to put something there.
func (m *Machine) StartEtcd(ctx context.Context, core Core, hosts [3]string, told func(own string) string, between func(own, told string) error) (*Stored, error) {
	port := m.Ports(hosts[:]...)
	var members []string
	s := &Stored{}
	own := func(i, p int) string { return net.JoinHostPort(hosts[i], strconv.Itoa(port+2*i+p)) }
	for i := range hosts {
		if err := between(own(i, 1), told(own(i, 1))); err != nil {
			return nil, err
		}
		members = append(members, fmt.Sprintf("m%d=http://%s", i, told(own(i, 1))))
		s.Addresses = append(s.Addresses, own(i, 0))
	}
	for i := range hosts {
		dir, err := m.Dir("etcd")
		if err != nil {
			return nil, err
		}
		p, err := m.Start("etcd", core, "etcd", "--name", fmt.Sprintf("m%d", i), "--data-dir", dir, "--initial-cluster", strings.Join(members, ","),
			"--initial-cluster-token", strconv.Itoa(port), "--listen-peer-urls", "http://"+own(i, 1), "--initial-advertise-peer-urls", "http://"+told(own(i, 1)),
			"--listen-client-urls", "http://"+own(i, 0), "--advertise-client-urls", "http://"+own(i, 0), "--log-level", "error")
		if err != nil {
			return nil, err
		}
		s.Processes = append(s.Processes, p)
	}
	c, err := etcd.New(etcd.Config{Endpoints: s.Addresses, DialTimeout: dialLimit, Context: ctx, Logger: zap.NewNop()})
	if err != nil {
		return nil, err
	}
	defer c.Close()
	return s, s.Processes[0].Await(ctx, "answering", func() bool {
		ctx, cancel := context.WithTimeout(ctx, time.Second)
		defer cancel()
		_, err := c.Get(ctx, "health") // by a leader
		return err == nil
	})
}

// Direct and Nothing are for members of etcd with nothing between them.
func Direct(own string) string { return own }

// Nothing is what stands between members then.
func Nothing(_, _ string) error { return nil }
