//go:build faults

package faults

import (
	"fmt"
	"os"
	"os/exec"
	"strings"
	"testing"
)

// network is a switch in a namespace of its own, with a namespace for each node and an address
// for the test itself.
type network struct {
	t     *testing.T
	name  string
	nodes int
}

func newNetwork(t *testing.T, nodes int) *network {
	t.Helper()
	n := &network{t: t, name: fmt.Sprintf("veto%d", os.Getpid()), nodes: nodes}
	t.Cleanup(n.remove)
	n.ip("netns add " + n.name)
	n.in(n.name, "link add name sw0 type bridge")
	n.in(n.name, "link set dev sw0 up")
	n.ip(fmt.Sprintf("link add name %s type veth peer name test netns %s", n.link(), n.name))
	n.in(n.name, "link set test master sw0 up")
	n.ip(fmt.Sprintf("addr add %s/24 dev %s", n.host(1), n.link()))
	n.ip("link set " + n.link() + " up")
	for i := range nodes {
		n.ip("netns add " + n.space(i))
		n.in(n.name, fmt.Sprintf("link add name p%d type veth peer name eth0 netns %s", i, n.space(i)))
		n.in(n.name, fmt.Sprintf("link set p%d master sw0 up", i))
		n.in(n.space(i), fmt.Sprintf("addr add %s/24 dev eth0", n.address(i)))
		n.in(n.space(i), "link set eth0 up")
		n.in(n.space(i), "link set lo up")
	}
	return n
}

func (n *network) link() string { return n.name + "x" }

func (n *network) space(i int) string { return fmt.Sprintf("%s-%d", n.name, i+1) }

func (n *network) address(i int) string { return n.host(11 + i) }

// host is an address on a network that no other run on this machine has.
func (n *network) host(number int) string { return fmt.Sprintf("10.77.%d.%d", os.Getpid()%250, number) }

func (n *network) ip(command string) {
	n.t.Helper()
	if out, err := exec.Command("ip", strings.Fields(command)...).CombinedOutput(); err != nil {
		n.t.Fatalf("ip %s: %v: %s", command, err, out)
	}
}

func (n *network) in(space, command string) {
	n.t.Helper()
	n.ip("-n " + space + " " + command)
}

// cut keeps what the first node sends from the second; clients still reach both.
func (n *network) cut(from, to int) {
	n.in(n.space(from), "route replace blackhole "+n.address(to)+"/32")
}

// isolate cuts all between the nodes of the two sides.
func (n *network) isolate(side []int) {
	for i := range n.nodes {
		for _, j := range side {
			if !contains(side, i) {
				n.cut(i, j)
				n.cut(j, i)
			}
		}
	}
}

// heal takes all cuts away.
func (n *network) heal() {
	for i := range n.nodes {
		for j := range n.nodes {
			_ = exec.Command("ip", "-n", n.space(i), "route", "del", "blackhole", n.address(j)+"/32").Run() // there may be none
		}
	}
}

func (n *network) remove() {
	for i := range n.nodes {
		_ = exec.Command("ip", "netns", "del", n.space(i)).Run() // what was not made is not there
	}
	_ = exec.Command("ip", "netns", "del", n.name).Run()
	_ = exec.Command("ip", "link", "del", n.link()).Run()
}

func contains(side []int, i int) bool {
	for _, j := range side {
		if i == j {
			return true
		}
	}
	return false
}
