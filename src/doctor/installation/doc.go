// Package installation has the checks of an installation of the chart: its CustomResourceDefinition, Deployments,
// images and rights, and other installations next to it.
//
// Floor 4. The webhook's checks belong in doctor/admission.
package installation
