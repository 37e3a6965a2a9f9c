/** How good, how large and how fast a model is. */
package org.nanomodel.evaluate;
