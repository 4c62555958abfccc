//go:build cluster

package quiz

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/akv2k8s/akv2k8s/src/emulator/keyvault"
	"github.com/akv2k8s/akv2k8s/tests/cluster/azurenames"
)

// vaultFault is a fault of a vault or an object, which one resource sees.
type vaultFault struct {
	// plant makes it in the vault of the namespace.
	plant func(context.Context, home) error
	// spec of the resource; empty means secret db.
	spec string
	// reason of the condition Ready that it has.
	reason string
	says   []string
	next   string
	// command is a part of the az command.
	command string
	// severity of the finding.
	severity string
	// unread means that a read takes longer than the budget of a command, so the Job of --azure is left out.
	unread bool
}

// strikes plants a fault of the emulator in all calls of the vault.
func strikes(f keyvault.Fault) func(context.Context, home) error {
	return func(ctx context.Context, h home) error {
		f.Vault = h.vault()
		return h.stage.Azure.Inject(ctx, f)
	}
}

func denies(inner string) func(context.Context, home) error {
	return strikes(keyvault.Fault{Status: 403, Code: "Forbidden", Inner: inner})
}

// acts does "disable" or "delete" to secret db.
func acts(action string) func(context.Context, home) error {
	return func(ctx context.Context, h home) error { return h.stage.Azure.Act(ctx, h.vault(), "db", action) }
}

// puts replaces secret db.
func puts(secret keyvault.Secret) func(context.Context, home) error {
	return func(ctx context.Context, h home) error {
		secret.Value = canary
		return h.stage.Azure.PutSecret(ctx, h.vault(), "db", secret)
	}
}

func nothing(context.Context, home) error { return nil }

// anObject is the spec of a resource for an object of the vault.
func anObject(name, kind string) string {
	return "{vault: {name: VAULT, object: {name: " + name + ", type: " + kind + "}}, output: {secret: {name: db, dataKey: v}}}"
}

func vaultFaults(_ *testing.T, q *quiz) []fault {
	const synced = "Synced"
	past, future := time.Now().Add(-time.Hour), time.Now().Add(24*time.Hour)
	_, objectID := q.stage.NodeIdentity()
	foreignTenant := `Bearer authorization="https://login.microsoftonline.com/33333333-3333-4333-8333-333333333333", resource="https://vault.azure.net"`
	html := map[string]string{"Content-Type": "text/html"}
	return isolated(q, "vault", map[string]vaultFault{
		"a role that is missing": {plant: func(ctx context.Context, h home) error { return h.stage.Azure.Permit(ctx, h.vault(), objectID) },
			reason: "AccessDenied", says: []string{"access is denied", "the identity has no role"}, next: "Key Vault Secrets User", command: "az role assignment create"},
		"a role that is missing for certificates": {plant: func(ctx context.Context, h home) error { return h.stage.Azure.Permit(ctx, h.vault(), objectID, "get") },
			spec: anObject("tls", "certificate"), reason: "AccessDenied", says: []string{"access is denied", "the identity has no role"}, next: "Key Vault Certificate", command: "az role assignment create"},
		"a deny assignment":                          {plant: denies("ForbiddenByDenyAssignment"), reason: "AccessDenied", says: []string{"access is denied"}, next: ""},
		"an access policy that is missing":           {plant: denies("ForbiddenByPolicy"), reason: "AccessDenied", says: []string{"the vault's access policies do not allow it"}, next: "get on secrets", command: "az keyvault set-policy"},
		"a 403 without a reason":                     {plant: strikes(keyvault.Fault{Status: 403, Code: "Forbidden"}), reason: "AccessDenied", says: []string{"access is denied"}, next: "Key Vault Secrets User"},
		"a firewall":                                 {plant: func(ctx context.Context, h home) error { return h.stage.Azure.SetFirewall(ctx, h.vault(), true) }, reason: "AccessDenied", says: []string{"the vault's firewall denies this address"}, next: "outbound address", command: "az keyvault network-rule add"},
		"a private endpoint without its zone":        {plant: func(ctx context.Context, h home) error { return h.stage.Azure.SetPrivateOnly(ctx, h.vault(), true) }, reason: "AccessDenied", says: []string{"through its private endpoint alone"}, next: "private DNS zone"},
		"an object that is missing":                  {plant: nothing, spec: anObject("nope", "secret"), reason: "ObjectNotFound", says: []string{`secret "nope"`, "the vault has no such object"}, next: "check name, version and type", command: "az keyvault secret list"},
		"a version that is missing":                  {plant: nothing, spec: "{vault: {name: VAULT, object: {name: db, type: secret, version: 0123456789abcdef0123456789abcdef}}, output: {secret: {name: db, dataKey: v}}}", reason: "ObjectNotFound", says: []string{"the vault has no such object"}, next: "version"},
		"an object that was deleted":                 {plant: acts("delete"), reason: "ObjectNotFound", says: []string{`secret "db"`, "recovered"}, next: "recover", command: "az keyvault secret recover"},
		"an object that is disabled":                 {plant: acts("disable"), reason: "ObjectDisabled", says: []string{"it is disabled"}, next: "enable this version", command: "az keyvault secret set-attributes"},
		"an object that has expired":                 {plant: puts(keyvault.Secret{Expires: past}), reason: synced, says: []string{"expired"}, next: "new version", severity: "warning"},
		"an object that is not valid yet":            {plant: puts(keyvault.Secret{NotBefore: future}), reason: synced, says: []string{"is valid from"}, next: "activation date", severity: "warning"},
		"a vault that rejects what is not valid yet": {plant: denies("SecretNotYetValid"), reason: "ObjectDisabled", says: []string{"it is not yet valid"}, next: "activation date"},
		"a vault that rejects what has expired":      {plant: denies("SecretExpired"), reason: "ObjectDisabled", says: []string{"it has expired"}, next: "new version"},
		"a secret where a key is meant":              {plant: nothing, spec: "{vault: {name: VAULT, object: {name: db, type: key}}, output: {secret: {name: db, dataKey: v}}}", reason: "ObjectNotFound", says: []string{"the vault has no key of this name, but a secret"}, next: "set the object's type to secret"},
		"a secret where a certificate is meant":      {plant: nothing, spec: anObject("db", "certificate"), reason: "ObjectNotFound", says: []string{"the vault has no certificate of this name, but a secret"}, next: "set the object's type to secret"},
		"a vault that does not exist":                {plant: nothing, spec: strings.ReplaceAll(anObject("db", "secret"), "VAULT", azurenames.NoSuchVault+"vault"), reason: "ObjectNotFound", says: []string{"there is no such vault"}, next: "check the vault's name", command: "az keyvault list"},
		"another tenant":                             {plant: strikes(keyvault.Fault{RefuseTokens: true, Challenge: foreignTenant}), reason: "AuthenticationFailed", says: []string{"the vault does not accept the identity's token"}, next: "same tenant", command: "properties.tenantId"},
		"a token that the vault rejects":             {plant: strikes(keyvault.Fault{RefuseTokens: true}), reason: "AuthenticationFailed", says: []string{"the vault does not accept the identity's token"}, next: "tenant"},
		"a challenge that makes no sense":            {plant: strikes(keyvault.Fault{RefuseTokens: true, Challenge: `Bearer authorization="https://login.microsoftonline.com", resource="https://vault.azure.net"`}), reason: "VaultUnavailable", says: []string{"could not be parsed"}, next: "check what answers"},
		"too many requests":                          {plant: strikes(keyvault.Fault{Status: 429}), reason: "Throttled", says: []string{"too many requests"}, next: "what else calls"},
		"too many requests for a minute":             {plant: strikes(keyvault.Fault{Status: 429, RetryAfter: 60}), reason: "Throttled", says: []string{"too many requests"}, next: "what else calls", unread: true},
		"an internal error of the vault":             {plant: strikes(keyvault.Fault{Status: 500}), reason: "VaultUnavailable", says: []string{"the vault returned a server error"}, next: "status page"},
		"a vault that is overloaded":                 {plant: strikes(keyvault.Fault{Status: 503}), reason: "VaultUnavailable", says: []string{"the vault returned a server error"}, next: "status page"},
		"a vault that does not answer":               {plant: strikes(keyvault.Fault{LatencyMillis: 120_000}), reason: "VaultUnavailable", says: []string{"did not answer in time"}, next: "network policies, firewalls", unread: true},
		"a connection that is closed":                {plant: strikes(keyvault.Fault{Drop: true}), reason: "VaultUnavailable", says: []string{"the connection to"}, next: "network policies, firewalls"},
		"a proxy that blocks":                        {plant: strikes(keyvault.Fault{Status: 403, Body: "<html>" + canary + "</html>", Header: html}), reason: "VaultUnavailable", says: []string{"something between this pod and", "blocked the request"}, next: "HTTPS_PROXY"},
		"a page in place of an answer":               {plant: strikes(keyvault.Fault{Body: "<html>" + canary + "</html>", Header: html}), reason: "VaultUnavailable", says: []string{"answered in its place"}, next: "HTTPS_PROXY"},
		"a proxy that requires a sign-in":            {plant: strikes(keyvault.Fault{Status: 407, Body: "<html></html>", Header: html}), reason: "VaultUnavailable", says: []string{"requires a sign-in"}, next: "HTTPS_PROXY"},
		"a redirection":                              {plant: strikes(keyvault.Fault{Status: 302, Header: map[string]string{"Location": "https://login.example/", "Content-Type": "text/html"}, Body: "<html></html>"}), reason: "VaultUnavailable", says: []string{"redirects to another page"}, next: "HTTPS_PROXY"},
		"an answer for another object": {plant: func(ctx context.Context, h home) error {
			return strikes(keyvault.Fault{Body: `{"value":"` + canary + `","id":"https://` + h.vault() + `.vault.azure.net/secrets/other/0123","attributes":{"enabled":true}}`})(ctx, h)
		}, reason: "MalformedObject", says: []string{"another object"}, next: ""},
	})
}

// isolated gives each fault of a vault a namespace, a vault and a resource.
func isolated(q *quiz, prefix string, all map[string]vaultFault) []fault {
	var faults []fault
	for n, name := range slices.Sorted(maps.Keys(all)) {
		v := all[name]
		h := home{q, fmt.Sprintf("%s-%d", prefix, n)}
		f := fault{name: name, says: v.says, next: v.next, severity: v.severity,
			plant: func(ctx context.Context) error {
				if err := h.create(ctx, nil); err != nil {
					return err
				}
				if err := v.plant(ctx, h); err != nil {
					return err
				}
				if err := h.resource(ctx, "db", v.spec); err != nil {
					return err
				}
				return h.awaitReason(ctx, "db", v.reason)
			},
			undo: h.remove}
		// A warning about the object itself is not in the status, so only Azure, or explain, tells.
		if v.reason != "Synced" {
			f.commands = [][]string{{"doctor", "-n", h.name, "akvs/db"}, {"doctor", "-n", h.name}, {"explain", "-n", h.name, "akvs/db"}}
		}
		if !v.unread {
			f.commands = append(f.commands, []string{"doctor", "-n", h.name, "akvs/db", "--azure"})
		}
		if v.command != "" && !v.unread {
			f.azureCommand = v.command
		}
		faults = append(faults, f)
	}
	return faults
}

func contentFaults(_ *testing.T, q *quiz) []fault {
	object := func(kind, output string) string {
		return "{vault: {name: VAULT, object: {name: db, type: " + kind + "}}, output: {" + output + "}}"
	}
	content := func(value string) func(context.Context, home) error {
		return func(ctx context.Context, h home) error { return h.stage.Azure.Put(ctx, h.vault(), "db", value) }
	}
	many := object("multi-key-value-secret, contentType: application/x-json", "secret: {name: db}")
	return isolated(q, "content", map[string]vaultFault{
		"an array in place of an object": {plant: content(`["` + canary + `"]`), spec: many, reason: "MalformedObject", says: []string{"not a JSON object"}},
		"a key that no Secret can have":  {plant: content(`{"a b": "` + canary + `"}`), spec: many, reason: "MalformedObject", says: []string{"key of a Secret"}},
		"base64 that is none":            {plant: content(canary + "!"), spec: object("secret", "transform: [base64decode], secret: {name: db, dataKey: a}"), reason: "MalformedObject", says: []string{"base64"}},
		"a registry login that is none":  {plant: content(canary), spec: object("secret", "secret: {name: db, type: kubernetes.io/dockerconfigjson}"), reason: "MalformedObject", says: []string{"not JSON"}},
		"a login without a colon":        {plant: content(canary), spec: object("secret", "secret: {name: db, type: kubernetes.io/basic-auth}"), reason: "MalformedObject", says: []string{"NAME:PASSWORD"}},
		"a certificate that is none":     {plant: content(canary), spec: object("secret", "secret: {name: db, type: kubernetes.io/tls}"), reason: "MalformedObject", says: []string{"neither PFX nor PEM"}},
		"an output of somebody else":     {plant: foreignSecret, reason: "TargetConflict", says: []string{"already exists and does not belong"}, next: "adopt"},
		"more than a Secret can hold":    {plant: bigSecrets, spec: "{vault: {name: VAULT}, dataFrom: [{match: {prefix: big-}}], output: {secret: {name: db}}}", reason: "MalformedObject", says: []string{"1 MiB"}},
	})
}

// foreignSecret creates a Secret with the name of the output.
func foreignSecret(ctx context.Context, h home) error {
	return h.stage.Apply(ctx, h.name, "{apiVersion: v1, kind: Secret, metadata: {name: db}, stringData: {v: "+canary+"}}")
}

// bigSecrets puts more into the vault than fits into a Secret.
func bigSecrets(ctx context.Context, h home) error {
	all := map[string]string{}
	for i := range 50 {
		all[fmt.Sprintf("big-%02d", i)] = canary + strings.Repeat("x", 24<<10)
	}
	return h.stage.Azure.Vault(ctx, h.vault(), all)
}
