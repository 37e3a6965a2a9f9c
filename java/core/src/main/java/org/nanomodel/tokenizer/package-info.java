/** Text to token ids and back, whole or as a stream. */
package org.nanomodel.tokenizer;
