package keyvault

import (
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"regexp"
	"slices"
	"strconv"
	"time"
)

// maxPageSize is the maximum number of items in a page.
const maxPageSize = 25

// maxValueBytes is the maximum size of a secret in bytes.
const maxValueBytes = 25 << 10

func (s *Server) executeOperation(w http.ResponseWriter, r *http.Request, c call) {
	if !slices.Contains(apiVersions(), r.URL.Query().Get("api-version")) {
		replyError(w, apiError{http.StatusBadRequest, "BadParameter", "The specified api-version is not supported.",
			""})
		return
	}
	s.Store.mu.Lock()
	defer s.Store.mu.Unlock()
	v := s.Store.getOrCreateVault(c.vault)
	switch c.operation {
	case "certificates/get", "keys/get":
		s.getPublicObject(w, c, v)
		return
	case "certificates/list", "keys/list":
		s.listPublicObjects(w, r, c, v)
		return
	case "certificates/versions", "keys/versions":
		s.listPublicVersions(w, r, c, v)
		return
	case "list", "listdeleted":
		s.listSecrets(w, r, c, v)
		return
	case "set":
		s.setSecret(w, r, c, v)
		return
	}
	o, ok := v.objects[c.name]
	inBin := c.operation == "getdeleted" || c.operation == "purge" || c.operation == "recover"
	if !ok || o.deleted.IsZero() == inBin {
		replyError(w, apiError{http.StatusNotFound, "SecretNotFound",
			fmt.Sprintf("A secret with (name/id) %s was not found in this key vault. "+
				"If you recently deleted this secret you may be able to recover it using the correct recovery command.",
				c.name), ""})
		return
	}
	s.executeOnSecret(w, r, c, o)
}

// executeOnSecret performs the operations on one existing secret.
func (s *Server) executeOnSecret(w http.ResponseWriter, r *http.Request, c call, o *object) {
	secret := o.findVersion(c.version)
	if secret == nil {
		replyError(w, apiError{http.StatusNotFound, "SecretNotFound",
			"A secret with this version was not found in this key vault.", ""})
		return
	}
	switch c.operation {
	case "get":
		if secret.Disabled {
			replyError(w, apiError{http.StatusForbidden, "Forbidden",
				"Operation get is not allowed on a disabled secret.",
				"SecretDisabled"})
			return
		}
		replyJSON(w, http.StatusOK, secretJSON(c, o, secret, true))
	case "versions":
		s.listVersions(w, r, c, o)
	case "update":
		s.updateSecret(w, r, c, o)
	case "delete":
		o.deleted = s.Store.Now().UTC()
		replyJSON(w, http.StatusOK, deletedSecretJSON(c, o))
	case "getdeleted":
		replyJSON(w, http.StatusOK, deletedSecretJSON(c, o))
	case "recover":
		o.deleted = time.Time{}
		replyJSON(w, http.StatusOK, secretJSON(c, o, o.findVersion(""), false))
	case "purge":
		delete(s.Store.getOrCreateVault(c.vault).objects, c.name)
		w.WriteHeader(http.StatusNoContent)
	}
}

// secretJSON returns the JSON of a secret.
func secretJSON(c call, o *object, s *Secret, withValue bool) map[string]any {
	attributes := map[string]any{"enabled": !s.Disabled, "created": s.created.Unix(), "updated": s.updated.Unix(),
		"recoveryLevel": "Recoverable+Purgeable", "recoverableDays": 90}
	if !s.NotBefore.IsZero() {
		attributes["nbf"] = s.NotBefore.Unix()
	}
	if !s.Expires.IsZero() {
		attributes["exp"] = s.Expires.Unix()
	}
	body := map[string]any{"id": fmt.Sprintf("https://%s.%s/secrets/%s/%s", c.vault, c.suffix, o.name, s.version),
		"attributes": attributes}
	if s.ContentType != "" {
		body["contentType"] = s.ContentType
	}
	if len(s.Tags) > 0 {
		body["tags"] = s.Tags
	}
	if s.managed {
		body["managed"] = true
	}
	if withValue {
		body["value"] = s.Value
	}
	return body
}

func deletedSecretJSON(c call, o *object) map[string]any {
	body := secretJSON(c, o, o.findVersion(""), false)
	body["recoveryId"] = fmt.Sprintf("https://%s.%s/deletedsecrets/%s", c.vault, c.suffix, o.name)
	body["deletedDate"], body["scheduledPurgeDate"] = o.deleted.Unix(), o.deleted.AddDate(0, 0, 90).Unix()
	return body
}

func (s *Server) listSecrets(w http.ResponseWriter, r *http.Request, c call, v *vault) {
	var items []any
	for _, name := range slices.Sorted(maps.Keys(v.objects)) {
		o := v.objects[name]
		if o.deleted.IsZero() == (c.operation == "listdeleted") {
			continue
		}
		item := secretJSON(c, o, o.findVersion(""), false)
		if c.operation == "listdeleted" {
			item = deletedSecretJSON(c, o)
		}
		item["id"] = fmt.Sprintf("https://%s.%s/secrets/%s", c.vault, c.suffix, name) // a list names no version
		items = append(items, item)
	}
	replyPage(w, r, items)
}

func (s *Server) listVersions(w http.ResponseWriter, r *http.Request, c call, o *object) {
	var items []any
	for _, version := range o.versions {
		items = append(items, secretJSON(c, o, version, false))
	}
	replyPage(w, r, items)
}

// replyPage responds with one page of a list as Key Vault does: at most 25 items, a nextLink with a port, and an empty
// last page if the number of items is a multiple of the page size.
func replyPage(w http.ResponseWriter, r *http.Request, items []any) {
	size := maxPageSize
	if asked, err := strconv.Atoi(r.URL.Query().Get("maxresults")); err == nil && asked >= 1 && asked <= maxPageSize {
		size = asked
	}
	from, _ := strconv.Atoi(r.URL.Query().Get("$skiptoken"))
	from = max(0, min(from, len(items)))
	to := min(from+size, len(items))
	body := map[string]any{"value": append([]any{}, items[from:to]...), "nextLink": nil}
	if to-from == size {
		next := *r.URL
		query := next.Query()
		query.Set("$skiptoken", strconv.Itoa(to))
		next.Scheme, next.Host, next.RawQuery = "https", hostWithoutPort(r)+":443", query.Encode()
		body["nextLink"] = next.String()
	}
	replyJSON(w, http.StatusOK, body)
}

func hostWithoutPort(r *http.Request) string {
	return regexp.MustCompile(`:\d+$`).ReplaceAllString(r.Host, "")
}

// secretChange is the body of a set or an update.
type secretChange struct {
	Value       *string            `json:"value"`
	ContentType *string            `json:"contentType"`
	Tags        *map[string]string `json:"tags"`
	Attributes  struct {
		Enabled   *bool  `json:"enabled"`
		NotBefore *int64 `json:"nbf"`
		Expires   *int64 `json:"exp"`
	} `json:"attributes"`
}

func (c secretChange) applyTo(s *Secret) {
	if c.ContentType != nil {
		s.ContentType = *c.ContentType
	}
	if c.Tags != nil {
		s.Tags = *c.Tags
	}
	if c.Attributes.Enabled != nil {
		s.Disabled = !*c.Attributes.Enabled
	}
	if c.Attributes.NotBefore != nil {
		s.NotBefore = time.Unix(*c.Attributes.NotBefore, 0).UTC()
	}
	if c.Attributes.Expires != nil {
		s.Expires = time.Unix(*c.Attributes.Expires, 0).UTC()
	}
}

func readChange(w http.ResponseWriter, r *http.Request) (secretChange, bool) {
	var c secretChange
	if err := json.NewDecoder(http.MaxBytesReader(w, r.Body, 1<<20)).Decode(&c); err != nil {
		replyError(w, apiError{http.StatusBadRequest, "BadParameter", "The request body is malformed.", ""})
		return c, false
	}
	return c, true
}

func (s *Server) setSecret(w http.ResponseWriter, r *http.Request, c call, v *vault) {
	body, ok := readChange(w, r)
	if !ok {
		return
	}
	if body.Value == nil || len(*body.Value) > maxValueBytes ||
		!regexp.MustCompile(`^[0-9a-zA-Z-]{1,127}$`).MatchString(c.name) {
		replyError(w, apiError{http.StatusBadRequest, "BadParameter",
			"The request has a missing or too large value, or a bad name.", ""})
		return
	}
	if o, exists := v.objects[c.name]; exists && !o.deleted.IsZero() {
		replyError(w, apiError{http.StatusConflict, "Conflict",
			fmt.Sprintf("Secret %s is currently in a deleted but recoverable state, "+
				"and its name cannot be reused; in this state, the secret can only be recovered or purged.", c.name),
			"ObjectIsDeletedButRecoverable"})
		return
	}
	secret := Secret{Value: *body.Value}
	body.applyTo(&secret)
	stored := s.Store.addSecretVersion(v, c.name, secret)
	replyJSON(w, http.StatusOK, secretJSON(c, v.objects[c.name], stored, true))
}

func (s *Server) updateSecret(w http.ResponseWriter, r *http.Request, c call, o *object) {
	body, ok := readChange(w, r)
	if !ok {
		return
	}
	secret := o.findVersion(c.version)
	body.applyTo(secret)
	secret.updated = s.Store.Now().UTC()
	replyJSON(w, http.StatusOK, secretJSON(c, o, secret, false))
}
