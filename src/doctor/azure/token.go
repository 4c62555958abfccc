package azure

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"regexp"
	"strings"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore/policy"

	"github.com/akv2k8s/akv2k8s/src/diagnosis"
	"github.com/akv2k8s/akv2k8s/src/doctor"
	"github.com/akv2k8s/akv2k8s/src/limits"
)

// idPattern matches the ids of Entra ID. Other text of a token is not used.
var idPattern = regexp.MustCompile(`^[0-9a-fA-F]{8}-(?:[0-9a-fA-F]{4}-){3}[0-9a-fA-F]{12}$`)

// checkToken gets a token for the installation's identity, and reads the ids of the principal from it.
func (k *Checker) checkToken(ctx context.Context) doctor.Finding {
	// The SDK repeats a request for a minute. The last answer is the cause, and more of them say nothing new.
	limited, cancel := context.WithTimeout(ctx, limits.DoctorAzureToken)
	defer cancel()
	token, err := k.config.Credential.GetToken(limited,
		policy.TokenRequestOptions{Scopes: []string{k.config.Cloud.VaultScope}})
	if err != nil {
		f := doctor.FromError("", err)
		var explained *diagnosis.Explained
		if errors.As(err, &explained) {
			f.Command = signInCommand(explained, k.config.ClientID)
		}
		f.Category, f.Check = categoryIdentity, checkToken
		return f
	}
	ids := readIDs(token.Token)
	k.objectID, k.tenantID = ids.ObjectID, ids.TenantID
	what := "the identity of the installation gets a token"
	for _, id := range []struct{ name, value string }{{"object id", ids.ObjectID}, {"client id", ids.ClientID},
		{"tenant", ids.TenantID}} {
		if id.value != "" {
			what += ", " + id.name + " " + id.value
		}
	}
	return doctor.Finding{Category: categoryIdentity, Check: checkToken, Severity: doctor.OK, What: what}
}

// tokenIDs are the ids of a principal.
type tokenIDs struct {
	ObjectID string `json:"oid"`
	ClientID string `json:"appid"`
	TenantID string `json:"tid"`
}

// readIDs reads the ids in a token. They are public; a token in another form has none.
func readIDs(token string) (ids tokenIDs) {
	parts := strings.Split(token, ".")
	if len(parts) != 3 {
		return tokenIDs{}
	}
	content, err := base64.RawURLEncoding.DecodeString(parts[1])
	if err != nil || json.Unmarshal(content, &ids) != nil {
		return tokenIDs{}
	}
	for _, id := range []*string{&ids.ObjectID, &ids.ClientID, &ids.TenantID} {
		if !idPattern.MatchString(*id) {
			*id = ""
		}
	}
	return ids
}
