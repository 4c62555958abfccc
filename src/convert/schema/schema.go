package schema

import (
	"context"
	"fmt"
	"strings"
	"sync"

	"k8s.io/apiextensions-apiserver/pkg/apis/apiextensions"
	apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
	structuralschema "k8s.io/apiextensions-apiserver/pkg/apiserver/schema"
	"k8s.io/apiextensions-apiserver/pkg/apiserver/schema/cel"
	"k8s.io/apiextensions-apiserver/pkg/apiserver/validation"
	utilvalidation "k8s.io/apimachinery/pkg/api/validation"
	metav1validation "k8s.io/apimachinery/pkg/apis/meta/v1/validation"
	"k8s.io/apimachinery/pkg/util/validation/field"
	apiservercel "k8s.io/apiserver/pkg/apis/cel"
	"sigs.k8s.io/yaml"

	"github.com/akv2k8s/akv2k8s/src/api/crd"
)

// Validator checks resources of one API version.
type Validator struct {
	structural *structuralschema.Structural
	schema     validation.SchemaValidator
	rules      *cel.Validator
}

// currentVersion is the version of the API that is stored, and that documents are written in.
const currentVersion = "v2beta1"

// Current returns the Validator for the current version of the API. It is compiled once, which takes about 50 ms.
var Current = sync.OnceValues(func() (*Validator, error) { return New(currentVersion) })

// New returns a Validator for a version of the API, such as v2beta1.
func New(version string) (*Validator, error) {
	var external apiextensionsv1.CustomResourceDefinition
	if err := yaml.Unmarshal(crd.YAML(), &external); err != nil {
		return nil, fmt.Errorf("parsing the CustomResourceDefinition: %w", err)
	}
	for _, v := range external.Spec.Versions {
		if v.Name != version || v.Schema == nil {
			continue
		}
		var properties apiextensions.JSONSchemaProps
		err := apiextensionsv1.Convert_v1_JSONSchemaProps_To_apiextensions_JSONSchemaProps(v.Schema.OpenAPIV3Schema,
			&properties, nil)
		if err != nil {
			return nil, fmt.Errorf("converting the schema: %w", err)
		}
		return compile(&properties)
	}
	return nil, fmt.Errorf("the CustomResourceDefinition has no version %q", version)
}

func compile(properties *apiextensions.JSONSchemaProps) (*Validator, error) {
	structural, err := structuralschema.NewStructural(properties)
	if err != nil {
		return nil, fmt.Errorf("reading the schema: %w", err)
	}
	validator, _, err := validation.NewSchemaValidator(properties)
	if err != nil {
		return nil, fmt.Errorf("compiling the schema: %w", err)
	}
	return &Validator{structural, validator, cel.NewValidator(structural, true, apiservercel.PerCallLimit)}, nil
}

// Fields returns the schema of a resource, for a look at the fields that it can have.
func (v *Validator) Fields() *structuralschema.Structural { return v.structural }

// Check returns what the API server would reject in a new resource: one text for each field, without values. The
// resource has the form of decoded JSON.
func (v *Validator) Check(ctx context.Context, resource map[string]any) []string {
	all := validation.ValidateCustomResource(nil, resource, v.schema)
	rules, _ := v.rules.Validate(ctx, nil, v.structural, resource, nil, apiservercel.RuntimeCELCostBudget)
	all = append(append(all, rules...), checkMetadata(resource)...)
	var texts []string
	seen := map[string]bool{}
	for _, problem := range all {
		text := problem.Field + ": " + describe(problem)
		if !seen[text] {
			seen[text] = true
			texts = append(texts, text)
		}
	}
	return texts
}

// describe returns the text of a problem without the value, which can be long or secret.
func describe(problem *field.Error) string {
	if problem.Type == field.ErrorTypeRequired || problem.Detail == "" {
		return strings.ToLower(problem.Type.String())
	}
	return problem.Detail
}

// checkMetadata checks name, namespace, labels and annotations as the API server does for every object.
func checkMetadata(resource map[string]any) field.ErrorList {
	metadata, _ := resource["metadata"].(map[string]any)
	path := field.NewPath("metadata")
	var all field.ErrorList
	name, _ := metadata["name"].(string)
	for _, text := range utilvalidation.NameIsDNSSubdomain(name, false) {
		all = append(all, field.Invalid(path.Child("name"), "", text))
	}
	if namespace, _ := metadata["namespace"].(string); namespace != "" {
		for _, text := range utilvalidation.ValidateNamespaceName(namespace, false) {
			all = append(all, field.Invalid(path.Child("namespace"), "", text))
		}
	}
	all = append(all, metav1validation.ValidateLabels(texts(metadata["labels"]), path.Child("labels"))...)
	return append(all, utilvalidation.ValidateAnnotations(texts(metadata["annotations"]), path.Child("annotations"))...)
}

func texts(value any) map[string]string {
	all := map[string]string{}
	if entries, ok := value.(map[string]any); ok {
		for key, text := range entries {
			all[key], _ = text.(string)
		}
	}
	return all
}
