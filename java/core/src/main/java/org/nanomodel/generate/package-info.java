/** Continuing texts, token by token. */
package org.nanomodel.generate;
