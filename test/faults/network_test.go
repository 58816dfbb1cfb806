//go:build faults

package faults

import (
	"fmt"
	"os"
	"os/exec"
	"slices"
	"strings"
	"testing"
)

// network is a switch in a namespace of its own, with a namespace for each node and an address
// for the test itself.
type network struct {
	t     *testing.T
	name  string
	nodes int
	netem bool // the kernel can delay packets; otherwise a slow link is one with little bandwidth
}

func newNetwork(t *testing.T, nodes int) *network {
	t.Helper()
	sweep(t)
	n := &network{t: t, name: name(), nodes: nodes}
	t.Cleanup(n.remove)
	n.ip("netns add " + n.name)
	n.in(n.name, "link add name sw0 type bridge")
	n.in(n.name, "link set dev sw0 up")
	n.ip(fmt.Sprintf("link add name %s type veth peer name test netns %s", n.link(), n.name))
	n.in(n.name, "link set test master sw0 up")
	n.ip(fmt.Sprintf("addr add %s/24 dev %s", n.test(), n.link()))
	n.ip("link set " + n.link() + " up")
	for i := range nodes {
		n.ip("netns add " + n.space(i))
		n.in(n.name, fmt.Sprintf("link add name %s type veth peer name eth0 netns %s", port(i), n.space(i)))
		n.in(n.name, fmt.Sprintf("link set %s master sw0 up", port(i)))
		n.in(n.space(i), fmt.Sprintf("addr add %s/24 dev eth0", n.address(i)))
		n.in(n.space(i), "link set eth0 up")
		n.in(n.space(i), "link set lo up")
	}
	n.netem = exec.Command("tc", "-n", n.space(0), "qdisc", "add", "dev", "eth0", "root", "netem", "delay", "1ms").Run() == nil
	n.fast(0)
	return n
}

func (n *network) link() string { return n.name + "x" }

func (n *network) space(i int) string { return fmt.Sprintf("%s-%d", n.name, i+1) }

// port is that of the switch to which the node is plugged in.
func port(i int) string { return fmt.Sprintf("p%d", i) }

func (n *network) address(i int) string { return n.host(11 + i) }

// test is where the nodes reach what is theirs outside the cluster, and clients come from.
func (n *network) test() string { return n.host(1) }

// host is an address on a network that no other run on this machine has.
func (n *network) host(number int) string { return fmt.Sprintf("10.77.%d.%d", os.Getpid()%250, number) }

func (n *network) ip(command string) {
	n.t.Helper()
	n.must("ip", command)
}

func (n *network) in(space, command string) {
	n.t.Helper()
	n.must("ip", "-n "+space+" "+command)
}

func (n *network) must(program, command string) {
	n.t.Helper()
	if out, err := exec.Command(program, strings.Fields(command)...).CombinedOutput(); err != nil {
		n.t.Errorf("%s %s: %v: %s", program, command, err, out)
	}
}

// cut keeps what the first node sends from the second; clients still reach both.
func (n *network) cut(from, to int) {
	n.in(n.space(from), "route replace blackhole "+n.address(to)+"/32")
}

// isolate cuts all between the nodes of the two sides.
func (n *network) isolate(side []int) {
	for i := range n.nodes {
		for _, j := range side {
			if !slices.Contains(side, i) {
				n.cut(i, j)
				n.cut(j, i)
			}
		}
	}
}

// unplug takes the node off the switch: nobody reaches it, clients neither.
func (n *network) unplug(i int) { n.in(n.name, "link set "+port(i)+" down") }

func (n *network) plug(i int) { n.in(n.name, "link set "+port(i)+" up") }

// heal takes all cuts away.
func (n *network) heal() {
	for i := range n.nodes {
		for j := range n.nodes {
			_ = exec.Command("ip", "-n", n.space(i), "route", "del", "blackhole", n.address(j)+"/32").Run() // there may be none
		}
	}
}

// filter drops, of what comes to the node and leaves it, what matches a rule.
func (n *network) filter(i int, name string, rules ...string) {
	n.must("ip", fmt.Sprintf("netns exec %s nft add table inet %s", n.space(i), name))
	for _, hook := range []string{"input", "output"} {
		n.must("ip", fmt.Sprintf("netns exec %s nft add chain inet %s %s { type filter hook %s priority 0 ; }", n.space(i), name, hook, hook))
		for _, rule := range rules {
			n.must("ip", fmt.Sprintf("netns exec %s nft add rule inet %s %s %s drop", n.space(i), name, hook, rule))
		}
	}
}

func (n *network) unfilter(i int, name string) {
	_ = exec.Command("ip", "netns", "exec", n.space(i), "nft", "delete", "table", "inet", name).Run() // it may be gone
}

// slow delays what the node sends, by half a second at most.
func (n *network) slow(i, milliseconds int) {
	how := "tbf rate 400kbit burst 16kb latency 500ms"
	if n.netem {
		how = fmt.Sprintf("netem delay %dms %dms", milliseconds, milliseconds/2)
	}
	n.must("tc", "-n "+n.space(i)+" qdisc replace dev eth0 root "+how)
}

func (n *network) fast(i int) {
	_ = exec.Command("tc", "-n", n.space(i), "qdisc", "del", "dev", "eth0", "root").Run() // there may be none
}

func (n *network) remove() {
	for i := range n.nodes {
		_ = exec.Command("ip", "netns", "del", n.space(i)).Run() // what was not made is not there
	}
	_ = exec.Command("ip", "netns", "del", n.name).Run()
	_ = exec.Command("ip", "link", "del", n.link()).Run()
}
