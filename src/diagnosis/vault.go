package diagnosis

import "github.com/akv2k8s/akv2k8s/src/fault"

// roleDelayHint is the hint that a new role takes time.
const roleDelayHint = "a role that was granted in the last ten minutes may not be in force yet; akv2k8s retries the " +
	"read"

// grantRoleNextStep is the usual next step after a 403.
const grantRoleNextStep = "grant the role \"{role}\" on the vault (or an access policy with {permission}) to " +
	"{principal}; " + roleDelayHint

func vaultAnswers() []Answer {
	denied := func(code, cause, next string) Answer { return Answer{Vault, "403", code, fault.Denied, cause, next} }
	refused := func(code, cause, next string) Answer {
		return Answer{Vault, "401", code, fault.Unauthenticated, cause, next}
	}
	disabled := func(code, cause, next string) Answer { return Answer{Vault, "", code, fault.Disabled, cause, next} }
	return []Answer{
		{Vault, "400", "BadParameter", fault.Invalid, "the vault rejected the request as malformed",
			"check name and version of the object"},
		{Vault, "400", "", fault.Unavailable, "the vault rejected the request",
			"check name and version of the object, and proxies between the cluster and {host}; akv2k8s retries the " +
				"read"},
		refused("", "the vault does not accept the identity's token",
			"check that identity and vault belong to the same tenant and cloud"),
		refused("AKV10022", "the token is for another cloud",
			"set the vault's cloud: AZURE_ENVIRONMENT, or the value global.cloud"),
		refused("AKV10032", "the token is for another tenant than the vault's",
			"use an identity of the vault's tenant, or correct the tenant id"),
		denied("", "access is denied", grantRoleNextStep),
		denied("ForbiddenByRbac", "access is denied: the identity has no role that allows it", grantRoleNextStep),
		denied("ForbiddenByPolicy", "access is denied: the vault's access policies do not allow it",
			"add {permission} to the vault's access policy of {principal}, or give the vault role-based access and "+
				"grant the role \"{role}\""),
		denied("AccessDenied", "access is denied: the vault's access policies do not allow it",
			"add {permission} to the vault's access policy of {principal}, or give the vault role-based access and "+
				"grant the role \"{role}\""),
		denied("ForbiddenByFirewall", "the vault's firewall denies this address",
			"allow the cluster's outbound address or subnet in the vault's firewall, or use a private endpoint"),
		denied("ForbiddenByConnection",
			"the vault accepts connections through its private endpoint alone, and this one came another way",
			"link the private DNS zone {zone} to the cluster's network, so that {host} resolves to the private "+
				"endpoint; or allow public network access to the vault"),
		disabled("SecretDisabled", "it is disabled",
			"enable this version in the vault, or set a version that is enabled"),
		disabled("KeyDisabled", "it is disabled", "enable this version in the vault, or set a version that is enabled"),
		disabled("SecretNotYetValid", "it is not yet valid",
			"correct its activation date in the vault, or set a version that is valid"),
		disabled("SecretExpired", "it has expired", "issue a new version in the vault"),
		{Vault, "404", "", fault.NotFound, "the vault has no such object of type {kind}",
			"check name, version and type; a deleted object may have to be recovered"},
		{Vault, "404", OtherType, fault.NotFound, "the vault has no {kind} of this name, but a {other}",
			"set the object's type to {other}, or correct the name"},
		{Vault, "", NoSuchVault, fault.NotFound, "there is no such vault: the name {host} does not exist",
			"check the vault's name and the cloud; for a vault with a private endpoint, link the private DNS zone " +
				"{zone} to the cluster's network"},
		{Vault, "408", "", fault.Unavailable, "the vault did not receive the whole request in time",
			"check the network between the cluster and {host}; akv2k8s retries the read"},
		{Vault, "429", "", fault.Throttled, "too many requests",
			"akv2k8s pauses its calls for as long as the vault requests; if this persists, find out what else calls " +
				"the vault, lengthen refresh intervals, or lower the value vaultLimits.perVault"},
		{Vault, "5xx", "", fault.Unavailable, "the vault returned a server error",
			"akv2k8s retries the read; if this persists, check Azure's status page and the vault's resource health"},
		{Vault, "200", "", fault.Unavailable, "the vault's answer could not be parsed",
			"check what answers at {host}: a proxy or a wrong DNS entry; akv2k8s retries the read"},
		{Vault, "", "", fault.Unavailable, "the vault answered with an unexpected status",
			"check what answers at {host}: a proxy or a wrong DNS entry; akv2k8s retries the read"},
	}
}

// Codes of this package for answers of a vault without a code.
const (
	// OtherType is a 404 for an object that exists with another type. The fact other names that type.
	OtherType = "OtherType"
	// NoSuchVault is a vault whose name does not exist in DNS.
	NoSuchVault = "NoSuchVault"
)
