package sqs

// Located returns the endpoint and the region that the URL of a queue names, or region.
func Located(o Options, region string) (endpoint, at string, err error) {
	o.AWS.Region = region
	o, err = o.located()
	return o.AWS.Endpoint, o.AWS.Region, err
}
