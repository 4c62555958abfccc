package v2beta1

import (
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
)

// GroupVersion is spv.no/v2beta1.
func GroupVersion() schema.GroupVersion {
	return schema.GroupVersion{Group: "spv.no", Version: "v2beta1"}
}

// AddToScheme registers the kinds of this version.
func AddToScheme(s *runtime.Scheme) error {
	s.AddKnownTypes(GroupVersion(), &AzureKeyVaultSecret{}, &AzureKeyVaultSecretList{})
	metav1.AddToGroupVersion(s, GroupVersion())
	return nil
}
