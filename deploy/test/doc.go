// Package test checks what is in deploy/ against the tools and types of those who read it. It is a
// module of its own, so that none of them is among what the product is made of.
//
// It does not run a container engine, and talks to no cluster of Kubernetes.
//
// Promises:
//
//	D1  Every metric that rules, dashboard and documents name is one that a node has.
//	    TestMetricsAreThere
//	D2  What the chart renders is what Kubernetes' types know, and nothing beside it; what cannot
//	    work is refused.
//	    TestChart, TestChartRefuses
//	D3  Nodes with the settings that the chart renders found a cluster.
//	    TestRenderedSettingsRun
//	D4  The Dockerfile and the compose file are what their readers read.
//	    TestDockerfile, TestCompose
package test
