package org.nanomodel.tokenizer;

/**
 * A part of a text to encode.
 *
 * @param special whether special tokens that the part spells are those tokens; else they are text
 */
public record TextPart(String text, boolean special) {}
