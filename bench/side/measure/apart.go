package measure

import (
	"context"
	"errors"
	"fmt"
	"net"
	"strconv"
	"strings"
	"time"

	"github.com/redis/go-redis/v9"
	etcd "go.etcd.io/etcd/client/v3"
	"go.uber.org/zap"

	"veto/bench/side/machine"
	"veto/bench/side/peers"
	"veto/bench/side/tokens"
	"veto/client"
	"veto/test/relay"
)

// regions is how many there are, with a node in each.
const regions = 3

// apart are three nodes, each in a region of its own.
type apart struct {
	nodes []*system
	// revoke revokes a jti in the i-th region.
	revoke func(ctx context.Context, i int, jti string) error
	// lose ends whoever leads, and gives the nodes that are left.
	lose func(ctx context.Context) ([]int, error)
}

// distant makes them, so far from each other.
type distant func(ctx context.Context, m *machine.Machine, jwks []byte, r *relay.Relay, delay time.Duration) (*apart, error)

func host(net, i int) string { return fmt.Sprintf("127.0.%d.%d", net, i+1) }

func vetoApart(ctx context.Context, m *machine.Machine, jwks []byte, r *relay.Relay, delay time.Duration) (*apart, error) {
	var n machine.Nodes
	for i := range regions {
		n.Hosts = append(n.Hosts, host(4, i))
		n.Told = append(n.Told, host(4, i))
		if delay > 0 {
			n.Told[i] = host(5, i)
		}
	}
	c, err := m.StartVeto(ctx, n, func(port int) error {
		if delay == 0 {
			return nil
		}
		var failed error
		for i := range regions {
			at := func(h string, p int) string { return net.JoinHostPort(h, strconv.Itoa(port+p)) }
			for _, p := range []int{machine.PeerPort, machine.GossipPort} {
				failed = errors.Join(failed, r.TCP(at(n.Told[i], p), at(n.Hosts[i], p)))
			}
			failed = errors.Join(failed, r.UDP(at(n.Told[i], machine.GossipPort), at(n.Hosts[i], machine.GossipPort)))
		}
		return failed
	})
	if err == nil {
		err = c.Trust(ctx, jwks)
	}
	if err != nil {
		return nil, err
	}
	x := &apart{}
	var clients []*client.Client
	for i := range regions {
		x.nodes = append(x.nodes, &system{name: "veto", address: c.Data[i], process: c.Processes[i], request: bearer, allowed: `"outcome":"allow"`})
		clients = append(clients, c.Client(i))
	}
	x.revoke = func(ctx context.Context, i int, jti string) error {
		_, err := clients[i].Revoke(ctx, client.RevokeRequest{Target: "jti", Issuer: tokens.Issuer, Value: jti}, false, 5*time.Second)
		return err
	}
	x.lose = func(ctx context.Context) (left []int, err error) {
		status, err := c.Client().Cluster(ctx)
		for i := range regions {
			if status.Leader == fmt.Sprintf("n%d", i+1) {
				c.Processes[i].Kill()
			} else {
				left = append(left, i)
			}
		}
		return left, err
	}
	return x, nil
}

func etcdApart(ctx context.Context, m *machine.Machine, jwks []byte, r *relay.Relay, delay time.Duration) (*apart, error) {
	told := machine.Direct
	if delay > 0 {
		told = func(own string) string { return strings.Replace(own, "127.0.6.", "127.0.7.", 1) }
	}
	s, err := m.StartEtcd(ctx, "", [3]string{host(6, 0), host(6, 1), host(6, 2)}, told, func(own, far string) error {
		if own == far {
			return nil
		}
		return r.TCP(far, own)
	})
	if err != nil {
		return nil, err
	}
	x := &apart{}
	var clients []*etcd.Client
	for i := range regions {
		p, err := startPeer(ctx, m, "", host(6, i), "golang-jwt-etcd", peers.Config{JWKS: jwks, Etcd: s.Addresses[i : i+1]}, nil)
		if err != nil {
			return nil, err
		}
		c, err := etcd.New(etcd.Config{Endpoints: s.Addresses[i : i+1], Context: ctx, Logger: zap.NewNop()})
		if err != nil {
			return nil, err
		}
		x.nodes, clients = append(x.nodes, p), append(clients, c)
	}
	x.revoke = func(ctx context.Context, i int, jti string) error {
		for {
			one, cancel := context.WithTimeout(ctx, time.Second)
			_, err := clients[i].Put(one, peers.Prefix+jti, "")
			cancel()
			if err == nil || ctx.Err() != nil {
				return err
			}
		}
	}
	x.lose = func(ctx context.Context) (left []int, err error) {
		for i := range regions {
			status, err := clients[i].Status(ctx, s.Addresses[i])
			if err != nil {
				return nil, err
			}
			if status.Leader == status.Header.MemberId {
				s.Processes[i].Kill()
			} else {
				left = append(left, i)
			}
		}
		return left, nil
	}
	return x, nil
}

// redisApart has one Redis, in the first region.
func redisApart(peer string) distant {
	return func(ctx context.Context, m *machine.Machine, jwks []byte, r *relay.Relay, delay time.Duration) (*apart, error) {
		s, err := m.StartRedis(ctx, "", host(8, 0), "everysec")
		if err != nil {
			return nil, err
		}
		x := &apart{}
		var clients []*redis.Client
		for i := range regions {
			address := s.Addresses[0]
			if i > 0 && delay > 0 {
				_, port, _ := net.SplitHostPort(address)
				address = net.JoinHostPort(host(9, i), port)
				if err := r.TCP(address, s.Addresses[0]); err != nil {
					return nil, err
				}
			}
			p, err := startPeer(ctx, m, "", host(8, i), peer, peers.Config{JWKS: jwks, Redis: address}, nil)
			if err != nil {
				return nil, err
			}
			x.nodes, clients = append(x.nodes, p), append(clients, redis.NewClient(&redis.Options{Addr: address}))
		}
		x.revoke = func(ctx context.Context, i int, jti string) error {
			_, err := clients[i].TxPipelined(ctx, func(p redis.Pipeliner) error {
				p.Set(ctx, peers.Prefix+jti, 1, time.Hour)
				p.Publish(ctx, peers.Channel, jti)
				return nil
			})
			return err
		}
		x.lose = func(context.Context) ([]int, error) {
			s.Processes[0].Kill()
			return []int{0, 1, 2}, nil
		}
		return x, nil
	}
}
