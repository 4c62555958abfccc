// Command eso runs the controller of External Secrets Operator, without a cluster: its own reconciler and its own
// client of Key Vault, on an API server in memory. It reads manifests from standard input, and prints the Secrets that
// the controller writes, as JSON by name.
//
// The variables AZURE_CLIENT_ID, AZURE_TENANT_ID and AZURE_FEDERATED_TOKEN_FILE sign every store in. HTTPS_PROXY and
// SSL_CERT_FILE lead to the emulator. The program is a module of its own, so that its dependencies are not those of the
// product.
package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"reflect"
	"time"
	"unsafe"

	esv1 "github.com/external-secrets/external-secrets/apis/externalsecrets/v1"
	genv1alpha1 "github.com/external-secrets/external-secrets/apis/generators/v1alpha1"
	"github.com/external-secrets/external-secrets/pkg/controllers/externalsecret"
	"github.com/external-secrets/external-secrets/pkg/controllers/externalsecret/esmetrics"
	ctrlmetrics "github.com/external-secrets/external-secrets/pkg/controllers/metrics"
	"github.com/go-logr/logr"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	utilyaml "k8s.io/apimachinery/pkg/util/yaml"
	clientgoscheme "k8s.io/client-go/kubernetes/scheme"
	"k8s.io/client-go/tools/record"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/fake"
)

func main() {
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Minute)
	err := run(ctx, os.Stdin, os.Stdout)
	cancel()
	if err != nil {
		fmt.Fprintln(os.Stderr, "eso:", err)
		os.Exit(1)
	}
}

// secret is what a Secret has that must be equal.
type secret struct {
	Type        corev1.SecretType `json:"type"`
	Data        map[string][]byte `json:"data"`
	Labels      map[string]string `json:"labels,omitempty"`
	Annotations map[string]string `json:"annotations,omitempty"`
	Immutable   bool              `json:"immutable,omitempty"`
}

func run(ctx context.Context, in io.Reader, out io.Writer) error {
	scheme := runtime.NewScheme()
	for _, add := range []func(*runtime.Scheme) error{clientgoscheme.AddToScheme, esv1.AddToScheme,
		genv1alpha1.AddToScheme} {
		if err := add(scheme); err != nil {
			return err
		}
	}
	objects, err := readObjects(in)
	if err != nil {
		return err
	}
	api := fake.NewClientBuilder().WithScheme(scheme).WithObjects(objects...).
		WithStatusSubresource(&esv1.ExternalSecret{}).
		WithIndex(&esv1.ExternalSecret{}, ".metadata.targetSecretName", targetName).Build()
	ctrlmetrics.SetUpLabelNames(false)
	esmetrics.SetUpMetrics()
	reconciler := &externalsecret.Reconciler{Client: api, SecretClient: api, Log: logr.Discard(), Scheme: scheme,
		RequeueInterval: time.Hour, ClusterSecretStoreEnabled: true}
	setRecorder(reconciler, record.NewFakeRecorder(1000))
	for _, object := range objects {
		if _, ok := object.(*esv1.ExternalSecret); !ok {
			continue
		}
		request := ctrl.Request{NamespacedName: client.ObjectKeyFromObject(object)}
		if _, err := reconciler.Reconcile(ctx, request); err != nil {
			return fmt.Errorf("ExternalSecret %s: %w", object.GetName(), err)
		}
	}
	var all corev1.SecretList
	if err := api.List(ctx, &all); err != nil {
		return err
	}
	byName := map[string]secret{}
	for _, s := range all.Items {
		byName[s.Name] = secret{s.Type, s.Data, s.Labels, s.Annotations, s.Immutable != nil && *s.Immutable}
	}
	return json.NewEncoder(out).Encode(byName)
}

// setRecorder sets the field that only SetupWithManager sets, which needs an API server.
func setRecorder(r *externalsecret.Reconciler, recorder record.EventRecorder) {
	field := reflect.ValueOf(r).Elem().FieldByName("recorder")
	reflect.NewAt(field.Type(), unsafe.Pointer(field.UnsafeAddr())).Elem().Set(reflect.ValueOf(recorder))
}

func targetName(o client.Object) []string {
	es := o.(*esv1.ExternalSecret)
	if es.Spec.Target.Name != "" {
		return []string{es.Spec.Target.Name}
	}
	return []string{es.Name}
}

func readObjects(in io.Reader) ([]client.Object, error) {
	content, err := io.ReadAll(in)
	if err != nil {
		return nil, err
	}
	var all []client.Object
	decoder := utilyaml.NewYAMLOrJSONDecoder(bytes.NewReader(content), 4096)
	for {
		var raw json.RawMessage
		if err := decoder.Decode(&raw); errors.Is(err, io.EOF) {
			return all, nil
		} else if err != nil {
			return nil, err
		}
		var head metav1.TypeMeta
		if err := json.Unmarshal(raw, &head); err != nil {
			return nil, err
		}
		object, err := decodeObject(head.Kind, raw)
		if err != nil {
			return nil, err
		}
		all = append(all, object)
	}
}

// decodeObject decodes an object with the defaults of its schema.
func decodeObject(kind string, raw []byte) (client.Object, error) {
	switch kind {
	case "SecretStore":
		var s esv1.SecretStore
		err := json.Unmarshal(raw, &s)
		signIn(s.Spec.Provider.AzureKV)
		return &s, err
	case "ClusterSecretStore":
		var s esv1.ClusterSecretStore
		err := json.Unmarshal(raw, &s)
		signIn(s.Spec.Provider.AzureKV)
		return &s, err
	case "ExternalSecret":
		var es esv1.ExternalSecret
		err := json.Unmarshal(raw, &es)
		setDefaults(&es)
		return &es, err
	case "Secret":
		var s corev1.Secret
		return &s, json.Unmarshal(raw, &s)
	}
	return nil, fmt.Errorf("the kind %q is not known", kind)
}

// signIn makes a store use the identity in the environment.
func signIn(azure *esv1.AzureKVProvider) {
	method := esv1.AzureWorkloadIdentity
	azure.AuthType, azure.ServiceAccountRef, azure.AuthSecretRef = &method, nil, nil
	azure.EnvironmentType = esv1.AzureEnvironmentPublicCloud
}

func setDefaults(es *esv1.ExternalSecret) {
	es.UID = "00000000-0000-0000-0000-000000000001"
	target := &es.Spec.Target
	setDefault(&target.CreationPolicy, esv1.CreatePolicyOwner)
	setDefault(&target.DeletionPolicy, esv1.DeletionPolicyRetain)
	if template := target.Template; template != nil {
		setDefault(&template.MergePolicy, esv1.MergePolicyReplace)
		setDefault(&template.EngineVersion, esv1.TemplateEngineV2)
	}
	if es.Spec.RefreshInterval == nil {
		es.Spec.RefreshInterval = &metav1.Duration{Duration: time.Hour}
	}
	for i := range es.Spec.Data {
		setRefDefaults(&es.Spec.Data[i].RemoteRef)
	}
	for i := range es.Spec.DataFrom {
		if extract := es.Spec.DataFrom[i].Extract; extract != nil {
			setRefDefaults(extract)
		}
		if find := es.Spec.DataFrom[i].Find; find != nil {
			setDefault(&find.ConversionStrategy, esv1.ExternalSecretConversionDefault)
			setDefault(&find.DecodingStrategy, esv1.ExternalSecretDecodeNone)
		}
	}
}

func setRefDefaults(ref *esv1.ExternalSecretDataRemoteRef) {
	setDefault(&ref.MetadataPolicy, esv1.ExternalSecretMetadataPolicyNone)
	setDefault(&ref.ConversionStrategy, esv1.ExternalSecretConversionDefault)
	setDefault(&ref.DecodingStrategy, esv1.ExternalSecretDecodeNone)
}

func setDefault[T ~string](field *T, value T) {
	if *field == "" {
		*field = value
	}
}
