package decode_test

import (
	"context"
	"fmt"
	"regexp"
	"slices"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/akv2k8s/akv2k8s/src/fault"
	"github.com/akv2k8s/akv2k8s/src/keyvault"
	"github.com/akv2k8s/akv2k8s/src/recipe"
	"github.com/akv2k8s/akv2k8s/src/recipe/decode"
	"github.com/akv2k8s/akv2k8s/src/testkit/fuzzbudget"
)

func decodeEntries() []keyvault.Entry {
	return []keyvault.Entry{
		{Name: "shop-db-password", Tags: map[string]string{"team": "shop", "tier": "1"}}, {Name: "shop-api-key", Tags: map[string]string{"team": "shop"}},
		{Name: "other", Tags: map[string]string{"team": "other"}}, {Name: "SHOP-upper"},
	}
}

func searching(searches ...recipe.Search) recipe.Recipe {
	return recipe.Recipe{Vault: "kv1", MultipleItems: true, Searches: searches, Outputs: []recipe.Output{{Kind: recipe.OutputSecret, Name: "s"}}}
}

// keys are the data keys of what was found, with the object's name.
func keys(r recipe.Recipe) []string {
	var all []string
	for _, item := range r.Items {
		all = append(all, item.DataKey+"="+item.Name)
	}
	return all
}

func TestExpandFindsByNameAndTagsInTheOrderOfNames(t *testing.T) {
	for name, c := range map[string]struct {
		search recipe.Search
		want   []string
	}{
		"a prefix":                       {recipe.Search{Prefix: "shop-"}, []string{"shop-api-key=shop-api-key", "shop-db-password=shop-db-password"}},
		"a part of the name":             {recipe.Search{Regexp: "db|api"}, []string{"shop-api-key=shop-api-key", "shop-db-password=shop-db-password"}},
		"the whole name":                 {recipe.Search{Regexp: "^other$"}, []string{"other=other"}},
		"any case":                       {recipe.Search{Regexp: "(?i)^shop-u"}, []string{"SHOP-upper=SHOP-upper"}},
		"a tag":                          {recipe.Search{Tags: map[string]string{"team": "other"}}, []string{"other=other"}},
		"every tag":                      {recipe.Search{Tags: map[string]string{"team": "shop", "tier": "1"}}, []string{"shop-db-password=shop-db-password"}},
		"a name and a tag":               {recipe.Search{Prefix: "shop-a", Tags: map[string]string{"team": "shop"}}, []string{"shop-api-key=shop-api-key"}},
		"rewritten":                      {recipe.Search{Prefix: "shop-", Source: "^shop-(.*)$", Target: "${1}.txt"}, []string{"api-key.txt=shop-api-key", "db-password.txt=shop-db-password"}},
		"every match of it is rewritten": {recipe.Search{Prefix: "shop-db", Source: "-", Target: "_"}, []string{"shop_db_password=shop-db-password"}},
		"a rewrite that does not match":  {recipe.Search{Regexp: "^other$", Source: "x", Target: "y"}, []string{"other=other"}},
	} {
		t.Run(name, func(t *testing.T) {
			r, err := decode.ExpandSearches(context.Background(), searching(c.search), decodeEntries())
			require.NoError(t, err)
			assert.Equal(t, c.want, keys(r))
		})
	}
}

func TestWhatIsNamedHasTheSayOverWhatIsFound(t *testing.T) {
	r := searching(recipe.Search{Prefix: "shop-", Transforms: []string{"trim"}}, recipe.Search{Regexp: "api"})
	r.Items = []recipe.Item{{Name: "mine", Type: decode.Secret, DataKey: "shop-db-password"}}
	got, err := decode.ExpandSearches(context.Background(), r, decodeEntries())
	require.NoError(t, err)
	assert.Equal(t, []string{"shop-db-password=mine", "shop-api-key=shop-api-key"}, keys(got), "and what two searches find is there once")
	assert.Equal(t, []string{"trim"}, got.Items[1].Transforms)
	assert.Len(t, r.Items, 1, "the recipe that came in is as it was")
	assert.NoError(t, decode.CheckOutputs(got))

	var contents []decode.FetchedItem
	for _, item := range got.Items {
		contents = append(contents, decode.FetchedItem{Item: item, Object: object(" v ")})
	}
	data, err := secretData(context.Background(), got, contents)
	require.NoError(t, err)
	assert.Equal(t, "v", string(data["shop-api-key"].Reveal()))
	query, err := decode.NewQuery(got, "shop-api-key")
	require.NoError(t, err)
	assert.Equal(t, "shop-api-key", query.Item.Name, "pods find it by its data key")
}

func TestSearchesThatCannotWorkSayWhy(t *testing.T) {
	var many []keyvault.Entry
	for i := range 501 {
		many = append(many, keyvault.Entry{Name: fmt.Sprintf("many-%d", i)})
	}
	for name, c := range map[string]struct {
		search recipe.Search
		kind   fault.Kind
		says   string
	}{
		"nothing found":          {recipe.Search{Prefix: "none"}, fault.NotFound, "spec.dataFrom[0].match"},
		"two of one key":         {recipe.Search{Prefix: "shop-", Source: ".*", Target: "k"}, fault.Malformed, `"shop-api-key" and "shop-db-password" both become the data key "k"`},
		"no key at all":          {recipe.Search{Prefix: "other", Source: ".*", Target: ""}, fault.Malformed, "spec.dataFrom[0].rewrite"},
		"a key that is none":     {recipe.Search{Prefix: "other", Source: "o", Target: "/"}, fault.Malformed, "spec.dataFrom[0].rewrite"},
		"more than a Secret has": {recipe.Search{Prefix: "many-"}, fault.Malformed, "more than the 500 secrets"},
	} {
		_, err := decode.ExpandSearches(context.Background(), searching(c.search), slices.Concat(decodeEntries(), many))
		assert.Equal(t, c.kind, fault.KindOf(err), name)
		assert.ErrorContains(t, err, c.says, name)
	}
}

func validKey(key string) bool { return regexp.MustCompile(`^[-._a-zA-Z0-9]{1,253}$`).MatchString(key) }

func FuzzExpand(f *testing.F) {
	f.Add("shop-", "", "^shop-(.*)$", "${1}", "shop-db")
	f.Add("", "[a-z]+", "(", "$0$0", "name")
	f.Add("", "", "", "x", "n")
	f.Fuzz(func(t *testing.T, prefix, expression, source, target, name string) {
		target, name = target[:min(len(target), 256)], name[:min(len(name), 127)] // what resources and vaults have
		search := searching(recipe.Search{Prefix: prefix, Regexp: expression, Source: source, Target: target})
		var r recipe.Recipe
		var err error
		fuzzbudget.Check(t, decoding, len(expression)+len(source), func() {
			r, err = decode.ExpandSearches(context.Background(), search, []keyvault.Entry{{Name: name}})
		})
		if err != nil {
			return
		}
		if len(r.Items) != 1 || r.Items[0].Name != name || !validKey(r.Items[0].DataKey) {
			t.Fatalf("%q became %v", name, r.Items)
		}
	})
}

func TestWhatIsDisabledOrOfACertificateIsNotFound(t *testing.T) {
	all := []keyvault.Entry{{Name: "a"}, {Name: "off", Disabled: true}, {Name: "site", Managed: true}}
	r, err := decode.ExpandSearches(context.Background(), searching(recipe.Search{Regexp: ".*"}), all)
	require.NoError(t, err)
	require.Len(t, r.Items, 1)
	assert.Equal(t, "a", r.Items[0].Name)
	_, err = decode.ExpandSearches(context.Background(), searching(recipe.Search{Prefix: "site"}), all)
	assert.Equal(t, fault.NotFound, fault.KindOf(err))
}
