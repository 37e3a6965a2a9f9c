/** What models are made of: an engine, its kernels as ops, weights packed into linears. */
package org.nanomodel.ops;
