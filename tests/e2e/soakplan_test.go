//go:build cluster

package e2e

import (
	"math/rand/v2"
	"slices"
	"strings"

	"github.com/akv2k8s/akv2k8s/src/emulator/keyvault"
)

// The size of the soak.
const (
	soakVaults     = 4
	soakNamespaces = 4
	soakResources  = 200
)

// soakStep is what is done at once: faults in some vaults in place of those that they had, changes of objects, and a
// resource that goes or comes back.
type soakStep struct {
	vaults   []int
	faults   []keyvault.Fault
	changes  []soakChange
	resource int
	// alone is a step with one kind of fault, in all vaults.
	alone bool
	// wait is a part of a second; a step alone lasts as long as its share of the time.
	wait float64
}

// soakChange is of an object: "put" a new version made of pick, or "disable", "enable" or "delete" the newest one.
type soakChange struct {
	object int
	action string
	pick   uint64
}

// none is no resource.
const none = -1

// soakName is an object, whose kind its name begins with.
type soakName struct {
	name  string
	vault int
}

// soakPlan gives the steps of a seed, one after the other. They depend on the seed and the objects' names alone: never
// on time, nor on what came of them.
type soakPlan struct {
	random  *rand.Rand
	objects []soakName
	// off is what was done to an object that no one can read now.
	off map[int]string
	// order is that of the faults alone.
	order []int
}

func newSoakPlan(seed uint64, objects []soakName) *soakPlan {
	p := &soakPlan{random: rand.New(rand.NewPCG(seed, 0)), objects: objects, off: map[int]string{}}
	p.order = p.random.Perm(len(soakFaults()))
	return p
}

// soakFaults are all kinds of fault that the emulator can inject. VAULT in a text is the vault's name. What is not here
// is an answer that is right by all that can be told, but wrong; and a 400 with Azure's own code for a spec that can't
// work, after which a resource rightly rests until somebody changes it.
func soakFaults() []keyvault.Fault {
	bearer := func(authority, resource string) string {
		return `Bearer authorization="` + authority + `", resource="` + resource + `"`
	}
	const login, ours = "https://login.microsoftonline.com", "https://vault.azure.net"
	return []keyvault.Fault{
		// throttled
		{Status: 429}, {Status: 429, RetryAfter: 1}, {Status: 429, RetryAfter: 4}, {Status: 429, RetryAfter: 1, Over: 30}, {Status: 429, Over: 60},
		// not well
		{Status: 503}, {Status: 503, RetryAfter: 2}, {Status: 500}, {Status: 500, RetryAfter: 2}, {Status: 502}, {Status: 504}, {Status: 408}, {Status: 204}, {Status: 302}, {Status: 400},
		// refused, wrongly
		{Status: 403, Code: "Forbidden"}, {Status: 403, Code: "ForbiddenByFirewall"}, {Status: 404}, {Status: 401}, {RefuseTokens: true},
		{RefuseTokens: true, Challenge: bearer(login, ours)},
		{RefuseTokens: true, Challenge: bearer(login+"/99999999-9999-4999-8999-999999999999", ours)},
		{RefuseTokens: true, Challenge: bearer(login+"/common", "https://evil.example")},
		{RefuseTokens: true, Challenge: "Basic realm=none"},
		// slow, silent, cut off
		{LatencyMillis: 300}, {LatencyMillis: 3000}, {LatencyMillis: 60_000, Times: 3}, {Drop: true}, {Drop: true, Body: `{"value":"` + canary},
		// nonsense
		{Body: "<html>" + canary + "</html>"}, {Body: `{"value":"` + canary}, {Body: `{"value":"` + canary + `"}`}, {Body: "{}"}, {Body: "[]"}, {Body: strings.Repeat(" ", 200_000)},
		{Status: 500, Body: "<html>" + canary + "</html>"},
		{Operation: "get", Body: `{"value":"` + canary + `","id":"https://VAULT.vault.azure.net/secrets/other/0123","attributes":{"enabled":true}}`},
		{Operation: "certificates/get", Body: `{"id":"https://VAULT.vault.azure.net/certificates/other/0123","cer":"AAAA"}`},
		{Operation: "keys/get", Body: `{"key":{"kid":"https://VAULT.vault.azure.net/keys/other/0123","kty":"RSA","n":"AQAB","e":"AQAB"}}`},
		// lists
		{Operation: "list", Status: 403}, {Operation: "list", Status: 500}, {Operation: "list", Body: `{"value":[],"nextLink":null}`}, {Operation: "list", Drop: true, Body: `{"value":[`},
		{Operation: "list", Body: `{"value":[],"nextLink":"https://evil.example/secrets?api-version=7.4"}`},
		{Operation: "list", Body: `{"value":[{"id":"https://VAULT.vault.azure.net/secrets/s-000","attributes":{"enabled":true,"updated":1}}],"nextLink":null}`},
		{Operation: "certificates/list", Status: 403}, {Operation: "keys/list", Status: 500},
	}
}

// next is the step that comes: first each fault alone, then mixes.
func (p *soakPlan) next() soakStep {
	step := soakStep{resource: none, wait: 0.2 + p.random.Float64()}
	if len(p.order) > 0 {
		step.alone, step.vaults = true, []int{0, 1, 2, 3}
		step.faults, p.order = []keyvault.Fault{soakFaults()[p.order[0]]}, p.order[1:]
	} else {
		step.vaults = []int{p.random.IntN(soakVaults)}
		for range p.random.IntN(4) { // often none: a vault that is well
			step.faults = append(step.faults, p.fault(step.vaults[0]))
		}
	}
	for range 1 + p.random.IntN(4) {
		step.changes = append(step.changes, p.change())
	}
	if p.random.IntN(3) == 0 {
		step.resource = p.random.IntN(soakResources)
	}
	return step
}

// fault is one of all, often narrowed to an operation or to an object of the vault, to few times, or made slow.
func (p *soakPlan) fault(vault int) keyvault.Fault {
	all := soakFaults()
	f := all[p.random.IntN(len(all))]
	if f.Operation == "" && p.random.IntN(2) == 0 {
		f.Operation = []string{"get", "list", "certificates/get", "keys/get"}[p.random.IntN(4)]
	}
	if o := p.objects[p.random.IntN(len(p.objects))]; f.Operation == "" && o.vault == vault {
		f.Name = o.name
	}
	if f.Times == 0 && p.random.IntN(2) == 0 {
		f.Times = 1 + p.random.IntN(20)
	}
	if f.LatencyMillis == 0 && p.random.IntN(4) == 0 {
		f.LatencyMillis = p.random.IntN(400)
	}
	return f
}

// change takes an object away, or makes one anew.
func (p *soakPlan) change() soakChange {
	c := soakChange{object: p.random.IntN(len(p.objects)), action: "put", pick: p.random.Uint64()}
	kind, roll := p.objects[c.object].name[:1], p.random.IntN(12)
	switch was := p.off[c.object]; {
	case was == "disable" && roll < 4:
		c.action = "enable"
	case was != "" || kind == "k": // a key can't be disabled in the emulator
	case roll == 0:
		c.action = "disable"
	case roll == 1 && kind != "c": // nor a certificate be deleted
		c.action = "delete"
	}
	p.off[c.object] = map[string]string{"disable": "disable", "delete": "delete"}[c.action]
	return c
}

// left are the objects that are away at the moment.
func (p *soakPlan) left() (objects []int) {
	for object, what := range p.off {
		if what != "" {
			objects = append(objects, object)
		}
	}
	slices.Sort(objects)
	return objects
}
