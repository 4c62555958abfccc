package limits

// Limits of kubectl akv2k8s convert, for all inputs of one run together unless the name or table says otherwise.
const (
	ConvertBytes     = 16 << 20
	ConvertFiles     = 10_000
	ConvertDocuments = 20_000
	ConvertElements  = 2_000_000
	ConvertDepth     = 100
	// ConvertTemplateBytes limits one template of an ExternalSecret, and one text with placeholders.
	ConvertTemplateBytes = 64 << 10
	ConvertPathBytes     = 400
)

// convertArea lists the limits of kubectl akv2k8s convert.
func convertArea() Area {
	const fails = "The command fails; convert fewer files at a time"
	return Area{Title: "kubectl akv2k8s convert", Limits: []Limit{
		{Name: "ConvertBytes", Value: Bytes(ConvertBytes), Subject: "Input of one run", Exceeded: fails,
			Reason: "About 10,000 resources"},
		{Name: "ConvertFiles", Value: Count(ConvertFiles), Subject: "Files of one run", Exceeded: fails,
			Reason: "More than a folder of manifests has"},
		{Name: "ConvertDocuments", Value: Count(ConvertDocuments), Subject: "Documents, with the items of lists",
			Exceeded: fails, Reason: "More than the input of one run can have"},
		{Name: "ConvertElements", Value: Count(ConvertElements),
			Subject:  "Keys, values and list items, with those that aliases repeat",
			Exceeded: fails, Reason: "Aliases of aliases make a small file large; each element takes about 200 bytes"},
		{Name: "ConvertDepth", Value: Count(ConvertDepth), Subject: "Nesting of a document", Exceeded: fails,
			Reason: "Manifests have about 20 levels"},
		{Name: "ConvertTemplateBytes", Value: Bytes(ConvertTemplateBytes),
			Subject: "One template, or one text with placeholders", Exceeded: "It is reported as left out",
			Reason: "Only short ones have an equal"},
		{Name: "ConvertPathBytes", Value: Bytes(ConvertPathBytes), Subject: "Path of a field in the report",
			Exceeded: "It is truncated", Reason: "A line of the report remains readable"},
	}}
}
