package azure

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore"
	"golang.org/x/sync/errgroup"

	"github.com/akv2k8s/akv2k8s/src/doctor"
	"github.com/akv2k8s/akv2k8s/src/fault"
	"github.com/akv2k8s/akv2k8s/src/keyvault"
	"github.com/akv2k8s/akv2k8s/src/keyvault/cloud"
	"github.com/akv2k8s/akv2k8s/src/keyvault/rule"
	"github.com/akv2k8s/akv2k8s/src/limits"
	"github.com/akv2k8s/akv2k8s/src/recipe"
	"github.com/akv2k8s/akv2k8s/src/recipe/decode"
	"github.com/akv2k8s/akv2k8s/src/recipe/fromapi"
)

// The categories of findings.
const (
	categoryIdentity = "Azure: identity"
	categoryVaults   = "Azure: vaults"
	categoryObjects  = "Azure: vault objects"
)

// Names of the checks.
const (
	checkToken    = "the identity of the installation gets a token"
	checkNames    = "the names of the vaults resolve"
	checkObjects  = "the vault objects of the resources can be read"
	checkResource = "the resources are valid"
)

// Vaults reads vaults as the installation does.
type Vaults interface {
	// Read returns an object that is at most maxAge old.
	Read(ctx context.Context, ref keyvault.Ref, maxAge time.Duration) (keyvault.Object, error)
	// IsDeleted reports whether an object was deleted and can be recovered.
	IsDeleted(ctx context.Context, ref keyvault.Ref) (bool, error)
}

// Config configures a Checker. Vaults, Credential, LookupHost and Clock are required.
type Config struct {
	Vaults Vaults
	// Credential is that of the installation.
	Credential azcore.TokenCredential
	Cloud      cloud.Cloud
	// ClientID is the client id of the installation's application, for commands; empty if it is not known.
	ClientID string
	// LookupHost returns the addresses of a host, as net.Resolver does.
	LookupHost func(ctx context.Context, host string) ([]string, error)
	// ProxyOf returns the host of the proxy for a host, or "" without one; nil means that there is no proxy. A proxy
	// resolves names itself.
	ProxyOf    func(host string) string
	Identities rule.IdentityPolicy
	Rules      rule.AccessRules
	Clock      func() time.Time
}

// Checker checks Azure for a list of resources.
type Checker struct {
	config Config
	// objectID and tenantID are those of the installation's token; empty until there is one.
	objectID, tenantID string
}

// New returns a Checker. It fails if the configuration is incomplete.
func New(c Config) (*Checker, error) {
	if err := fault.RequireFields("azure.New", map[string]bool{"Vaults": c.Vaults != nil,
		"Credential": c.Credential != nil, "LookupHost": c.LookupHost != nil, "Clock": c.Clock != nil,
		"Cloud": c.Cloud.VaultSuffix != ""}); err != nil {
		return nil, err
	}
	return &Checker{config: c}, nil
}

// Resource is an AzureKeyVaultSecret as JSON.
type Resource struct {
	Namespace, Name string
	JSON            json.RawMessage
}

// item is a vault object that a resource needs.
type item struct {
	ref keyvault.Ref
	// other is the kind by which a resource without output can read the object instead; empty if there is none.
	other keyvault.Kind
	// users are the resources, as NAMESPACE/NAME.
	users []string
}

// parsed is a valid resource.
type parsed struct {
	Resource
	recipe   recipe.Recipe
	identity keyvault.Identity
}

// String is the name of the resource for messages.
func (p parsed) String() string { return p.Namespace + "/" + p.Name }

// Check returns the findings about the identity, the vaults and the objects of the resources. The first cause is
// reported: without a token no vault is read, and a vault that can't be reached is not read again.
func (k *Checker) Check(ctx context.Context, resources []Resource) []doctor.Finding {
	valid, found := k.parseResources(resources)
	items := k.itemsOf(valid)
	usesInstallation := len(resources) == 0 || slices.ContainsFunc(valid, func(p parsed) bool {
		return p.identity == (keyvault.Identity{})
	})
	signedIn := true
	if usesInstallation {
		token := k.checkToken(ctx)
		signedIn = token.Severity == doctor.OK
		found = append([]doctor.Finding{token}, found...)
	}
	reachable, names := k.checkNames(ctx, items)
	found = append(found, names...)
	items = slices.DeleteFunc(items, func(i item) bool {
		return !reachable[strings.ToLower(i.ref.Vault)] || !signedIn && i.ref.Identity == (keyvault.Identity{})
	})
	if more := len(items) - limits.DoctorAzureReads; more > 0 {
		found = append(found, doctor.Finding{Category: categoryObjects, Check: checkObjects, Severity: doctor.OK,
			What: fmt.Sprintf("%d further objects were not read", more),
			Try:  "name one resource: kubectl akv2k8s doctor akvs/NAME --azure"})
		items = items[:limits.DoctorAzureReads]
	}
	return append(found, k.checkItems(ctx, items, valid)...)
}

// parseResources returns the valid resources that their namespace's rules allow, and findings about the others.
func (k *Checker) parseResources(resources []Resource) (valid []parsed, found []doctor.Finding) {
	for _, r := range resources {
		p := parsed{Resource: r}
		var err error
		if p.recipe, err = fromapi.Parse(r.JSON); err == nil {
			err = k.config.Rules.CheckAccess(r.Namespace, p.recipe.Vault)
		}
		if err != nil {
			f := doctor.FromError("akvs "+p.String(), err)
			f.Category, f.Check = categoryObjects, checkResource
			found = append(found, f)
			continue
		}
		p.identity = k.config.Identities.IdentityFor(r.Namespace, p.recipe.Identity)
		valid = append(valid, p)
	}
	return valid, found
}

// itemsOf returns the vault objects of resources, each once, in a stable order.
func (k *Checker) itemsOf(valid []parsed) []item {
	byRef := map[keyvault.Ref]*item{}
	for _, p := range valid {
		refs := map[keyvault.Ref]keyvault.Kind{}
		for _, i := range p.recipe.Items {
			other := keyvault.Kind("")
			if len(p.recipe.Outputs) == 0 {
				other = decode.AlternativeKind(i)
			}
			refs[p.recipe.ItemRef(i, decode.KindForOutput(p.recipe, i))] = other
		}
		if len(p.recipe.Searches) > 0 {
			refs[p.recipe.SecretListRef()] = ""
		}
		for ref, other := range refs {
			ref.Identity = p.identity
			if byRef[ref] == nil {
				byRef[ref] = &item{ref: ref, other: other}
			}
			byRef[ref].users = append(byRef[ref].users, p.String())
		}
	}
	var all []item
	for _, i := range byRef {
		slices.Sort(i.users)
		all = append(all, *i)
	}
	slices.SortFunc(all, func(a, b item) int { return cmp.Compare(sortKey(a.ref), sortKey(b.ref)) })
	return all
}

func sortKey(r keyvault.Ref) string {
	return strings.Join([]string{r.Vault, r.Identity.Namespace, r.Identity.ServiceAccount, string(r.Kind), r.Name,
		r.Version}, "\x00")
}

// checkItems reads the objects, explains the errors, and decodes the objects of resources whose reads succeed.
func (k *Checker) checkItems(ctx context.Context, items []item, valid []parsed) []doctor.Finding {
	if len(items) == 0 {
		return nil
	}
	objects, failures := make([]keyvault.Object, len(items)), make([]error, len(items))
	var group errgroup.Group
	group.SetLimit(limits.DoctorParallel)
	for n, i := range items {
		group.Go(func() error {
			objects[n], failures[n] = k.readItem(ctx, i)
			return nil
		})
	}
	_ = group.Wait() // the errors are explained below
	var found []doctor.Finding
	read := map[keyvault.Ref]keyvault.Object{}
	for n, i := range items {
		if failures[n] != nil {
			found = append(found, k.explainFailure(ctx, i, failures[n]))
			continue
		}
		read[i.ref] = objects[n]
		found = append(found, k.checkDates(i, objects[n])...)
	}
	found = append(mergeFindings(found), k.checkContents(ctx, valid, read)...)
	if !slices.ContainsFunc(found, func(f doctor.Finding) bool { return f.Severity == doctor.Error }) {
		found = append(found, doctor.Finding{Category: categoryObjects, Check: checkObjects, Severity: doctor.OK,
			What: fmt.Sprintf("%d vault objects can be read", len(read))})
	}
	for n := range found {
		found[n].Category, found[n].Check = cmp.Or(found[n].Category, categoryObjects), cmp.Or(found[n].Check,
			checkObjects)
	}
	return found
}

// readItem reads an object. For a resource without output, another kind serves too, as it does for pods.
func (k *Checker) readItem(ctx context.Context, i item) (keyvault.Object, error) {
	object, err := k.config.Vaults.Read(ctx, i.ref, 0)
	if i.other == "" || fault.KindOf(err) != fault.Denied {
		return object, err
	}
	ref := i.ref
	ref.Kind = i.other
	if object, otherErr := k.config.Vaults.Read(ctx, ref, 0); otherErr == nil {
		return object, nil
	}
	return object, err
}

// checkDates returns a finding for an object that has expired, or is not valid yet.
func (k *Checker) checkDates(i item, o keyvault.Object) []doctor.Finding {
	now := k.config.Clock()
	switch {
	case !o.Expires.IsZero() && o.Expires.Before(now):
		return []doctor.Finding{{Severity: doctor.Warning, Object: objectOf(i),
			What: fmt.Sprintf("%s expired on %s", i.ref, o.Expires.UTC().Format(time.DateOnly)),
			Why:  "the vault still returns it, but its users can reject it", Try: "create a new version",
			Command: newVersionCommand(i.ref)}}
	case !o.NotBefore.IsZero() && o.NotBefore.After(now):
		return []doctor.Finding{{Severity: doctor.Warning, Object: objectOf(i),
			What: fmt.Sprintf("%s is valid from %s", i.ref, o.NotBefore.UTC().Format(time.DateOnly)),
			Try:  "correct its activation date in the vault", Command: attributesCommand(i.ref, notBeforeNow)}}
	}
	return nil
}

// checkContents decodes the objects of each resource into the data of its outputs, and drops the data.
func (k *Checker) checkContents(ctx context.Context, valid []parsed,
	read map[keyvault.Ref]keyvault.Object) []doctor.Finding {
	var found []doctor.Finding
	for _, p := range valid {
		contents, complete := k.contentsOf(p, read)
		if !complete || len(p.recipe.Searches) > 0 {
			continue
		}
		for _, output := range p.recipe.Outputs {
			if _, err := decode.OutputData(ctx, p.recipe, output, contents); err != nil {
				f := doctor.FromError("akvs "+p.String(), err)
				found = append(found, f)
				break
			}
		}
	}
	return found
}

// contentsOf returns the objects of a resource; complete is false if one was not read.
func (k *Checker) contentsOf(p parsed, read map[keyvault.Ref]keyvault.Object) (contents []decode.FetchedItem,
	complete bool) {
	for _, i := range p.recipe.Items {
		ref := p.recipe.ItemRef(i, decode.KindForOutput(p.recipe, i))
		ref.Identity = p.identity
		object, ok := read[ref]
		if !ok {
			return nil, false
		}
		contents = append(contents, decode.FetchedItem{Item: i, Object: object})
	}
	return contents, true
}

// objectOf describes the resources of an item.
func objectOf(i item) string {
	const most = 3
	text := "akvs " + strings.Join(i.users[:min(most, len(i.users))], ", ")
	if len(i.users) > most {
		text += fmt.Sprintf(" and %d more", len(i.users)-most)
	}
	return text
}

// mergeFindings merges findings with the same cause and remedy, such as a role that is missing for all objects.
func mergeFindings(all []doctor.Finding) []doctor.Finding {
	objects := map[string][]string{}
	var merged []doctor.Finding
	for _, f := range all {
		key := f.What + "\x00" + f.Why + "\x00" + f.Try
		names := strings.Split(strings.TrimPrefix(f.Object, "akvs "), ", ")
		if len(objects[key]) == 0 {
			merged = append(merged, f)
		}
		objects[key] = append(objects[key], names...)
	}
	for n, f := range merged {
		key := f.What + "\x00" + f.Why + "\x00" + f.Try
		unique := map[string]bool{}
		for _, name := range objects[key] {
			unique[name] = true
		}
		names := slices.Sorted(maps.Keys(unique))
		merged[n].Object = objectOf(item{users: names})
	}
	return merged
}
