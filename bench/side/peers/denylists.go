package peers

import (
	"context"
	"strings"
	"sync"
	"time"

	"github.com/hashicorp/golang-lru/v2/expirable"
	"github.com/redis/go-redis/v9"
	etcd "go.etcd.io/etcd/client/v3"
	"go.uber.org/zap"
)

// Prefix is what revoked jtis begin with, as keys of Redis and etcd.
const Prefix = "revoked/"

// What a cache in front of Redis keeps, and for how long.
const (
	CacheFor     = 60 * time.Second
	cacheEntries = 100_000
)

const (
	etcdDial   = 10 * time.Second
	scanAtOnce = 1000
)

// inRedis asks for each request.
func inRedis(ctx context.Context, c Config) (denylist, error) {
	client := redis.NewClient(&redis.Options{Addr: c.Redis})
	context.AfterFunc(ctx, func() { _ = client.Close() })
	if err := client.Ping(ctx).Err(); err != nil {
		return nil, err
	}
	return func(ctx context.Context, jti string) (bool, error) {
		n, err := client.Exists(ctx, Prefix+jti).Result()
		return n > 0, err
	}, nil
}

// cached asks for what it has not asked for in the last minute.
func cached(ctx context.Context, c Config) (denylist, error) {
	ask, err := inRedis(ctx, c)
	if err != nil {
		return nil, err
	}
	said := expirable.NewLRU[string, bool](cacheEntries, nil, CacheFor)
	return func(ctx context.Context, jti string) (bool, error) {
		if no, ok := said.Get(jti); ok {
			return no, nil
		}
		no, err := ask(ctx, jti)
		if err == nil {
			said.Add(jti, no)
		}
		return no, err
	}, nil
}

// inEtcd keeps all of them, fed by a watch from the revision that was read on.
func inEtcd(ctx context.Context, c Config) (denylist, error) {
	client, err := etcd.New(etcd.Config{Endpoints: c.Etcd, DialTimeout: etcdDial, Context: ctx, Logger: zap.NewNop()})
	if err != nil {
		return nil, err
	}
	var revoked sync.Map
	all, err := client.Get(ctx, Prefix, etcd.WithPrefix(), etcd.WithKeysOnly())
	if err != nil {
		return nil, err
	}
	for _, kv := range all.Kvs {
		revoked.Store(strings.TrimPrefix(string(kv.Key), Prefix), struct{}{})
	}
	go func() {
		for w := range client.Watch(ctx, Prefix, etcd.WithPrefix(), etcd.WithRev(all.Header.Revision+1)) {
			for _, e := range w.Events {
				if jti := strings.TrimPrefix(string(e.Kv.Key), Prefix); e.Type == etcd.EventTypeDelete {
					revoked.Delete(jti)
				} else {
					revoked.Store(jti, struct{}{})
				}
			}
		}
	}()
	return func(_ context.Context, jti string) (bool, error) {
		_, no := revoked.Load(jti)
		return no, nil
	}, nil
}

// fedByRedis keeps all of them, fed by what is published from before they are read.
func fedByRedis(ctx context.Context, c Config) (denylist, error) {
	client := redis.NewClient(&redis.Options{Addr: c.Redis})
	told := client.Subscribe(ctx, Channel)
	context.AfterFunc(ctx, func() { _, _ = told.Close(), client.Close() })
	if _, err := told.Receive(ctx); err != nil {
		return nil, err
	}
	var revoked sync.Map
	go func() {
		for m := range told.Channel() {
			revoked.Store(m.Payload, struct{}{})
		}
	}()
	all := client.Scan(ctx, 0, Prefix+"*", scanAtOnce).Iterator()
	for all.Next(ctx) {
		revoked.Store(strings.TrimPrefix(all.Val(), Prefix), struct{}{})
	}
	if err := all.Err(); err != nil {
		return nil, err
	}
	return func(_ context.Context, jti string) (bool, error) {
		_, no := revoked.Load(jti)
		return no, nil
	}, nil
}

// Channel is where revoked jtis are published in Redis.
const Channel = "revoked"
