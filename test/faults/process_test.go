//go:build faults

package faults

import (
	"os"
	"os/exec"
	"sync"
	"syscall"
	"time"
)

// process is one life of a node.
type process struct {
	cmd    *exec.Cmd
	ended  chan struct{} // closed when it has
	wanted bool          // we ended it; read once ended is closed
}

// processes are the nodes of a cluster, as the machine sees them. Nil is one that was never started.
type processes struct {
	mu  sync.Mutex
	all []*process
	// died are nodes that ended by themselves, and when.
	died []death
}

type death struct {
	node int
	at   time.Time
}

func (p *processes) run(i int, cmd *exec.Cmd) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.living(i) {
		return nil
	}
	if err := cmd.Start(); err != nil {
		return err
	}
	one := &process{cmd: cmd, ended: make(chan struct{})}
	p.all[i] = one
	go func() {
		_ = cmd.Wait() // how it ended is in its log
		p.mu.Lock()
		if !one.wanted {
			p.died = append(p.died, death{i, time.Now()})
		}
		p.mu.Unlock()
		close(one.ended)
	}()
	return nil
}

// living is called with the lock held.
func (p *processes) living(i int) bool {
	if p.all[i] == nil {
		return false
	}
	select {
	case <-p.all[i].ended:
		return false
	default:
		return true
	}
}

// end has the process end, by the signal, and waits until it has; who does not in time is killed.
func (p *processes) end(i int, s os.Signal, patience time.Duration) {
	p.mu.Lock()
	one := p.all[i]
	if one == nil {
		p.mu.Unlock()
		return
	}
	one.wanted = true
	_ = one.cmd.Process.Signal(s) // it may have ended by itself
	if s != os.Kill {
		_ = one.cmd.Process.Signal(syscall.SIGCONT)
	}
	p.mu.Unlock()
	select {
	case <-one.ended:
	case <-time.After(patience):
		_ = one.cmd.Process.Kill()
		<-one.ended
	}
}

func (p *processes) signal(i int, s os.Signal) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.living(i) {
		_ = p.all[i].cmd.Process.Signal(s) // it may end just now
	}
}

// number is that of the process in the machine's table, 0 if there is none.
func (p *processes) number(i int) int {
	p.mu.Lock()
	defer p.mu.Unlock()
	if !p.living(i) {
		return 0
	}
	return p.all[i].cmd.Process.Pid
}
