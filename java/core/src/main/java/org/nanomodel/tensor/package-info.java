/** Typed, strided views of memory. */
package org.nanomodel.tensor;
