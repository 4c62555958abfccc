package cluster

// Names of checks whose errors have effects that other checks find, too. A finding names them in EffectOf.
const (
	CheckPresence      = "one installation of akv2k8s exists"
	CheckReadiness     = "the pods of akv2k8s are ready"
	CheckLeftovers     = "nothing is left of akv2k8s 1.8 or of removed installations"
	CheckConfiguration = "the API server knows the webhook"
	CheckService       = "the Service of the env-injector has ready endpoints"
	CheckBundle        = "the CA bundle of the webhook is in force"
	CheckServing       = "the CA bundle matches the serving certificate"
	CheckPolicies      = "NetworkPolicies allow the connections of akv2k8s"
	CheckQuotas        = "no ResourceQuota is used up"
	CheckAccess        = "the ServiceAccounts have the rights that akv2k8s needs"
	CheckDefinition    = "the CustomResourceDefinition is the one of this version"
)
